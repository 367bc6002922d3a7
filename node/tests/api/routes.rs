//! Every JSON address answers what it promises.

use super::world::{World, peer};
use super::{Site, TOKEN, request, text};
use axum::body::Body;
use axum::http::StatusCode;
use serde_json::json;

#[tokio::test]
async fn status_ledger_peers_and_genesis_describe_the_node() {
    let site = Site::new(World::lively(1_000_000).0);
    let status = site.json("/api/status").await;
    assert_eq!(status["peer"], peer(0).to_string());
    assert_eq!(status["measuring_lock"], "elsewhere");
    let ledger = site.json("/api/ledger").await;
    assert_eq!(ledger["height"], status["height"]);
    assert_eq!(ledger["head"], status["head"]);
    assert_eq!(ledger["claims"], 8);
    assert_eq!(site.json("/api/peers").await.as_array().unwrap().len(), 3);
    let genesis: assay_protocol::genesis::Genesis =
        serde_json::from_value(site.json("/api/genesis").await).unwrap();
    assert_eq!(json!(genesis.network()), status["network"]);
    assert_eq!(site.get("/healthz").await, (StatusCode::OK, "ok\n".to_owned()));
}

#[tokio::test]
async fn members_are_listed_and_statements_need_the_token() {
    let site = Site::new(World::lively(1_000_000).0);
    let members = site.json("/api/members").await;
    let members = members.as_array().unwrap();
    assert_eq!(members.len(), 7);
    assert!(members.iter().all(|row| row["membership"] == "founder" && row["validator"] == true));
    assert!(members[0]["standing"].as_u64() >= members[6]["standing"].as_u64());

    let say = |json: serde_json::Value, token: &'static str| {
        request("POST", "/api/statements")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(Body::from(json.to_string()))
            .unwrap()
    };
    let leave = json!({ "kind": "leave" });
    assert_eq!(site.send(say(leave.clone(), "wrong")).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(site.send(say(leave, TOKEN)).await.status(), StatusCode::CREATED);
    let disclose = json!({ "kind": "disclose", "text": "a trick" });
    let answer = site.send(say(disclose, TOKEN)).await;
    assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(text(answer).await.contains("cannot spare it"));
    for bad in [json!({}), json!({ "kind": "reign" }), json!({ "kind": "vouch", "peer": "x" })] {
        assert!(site.send(say(bad, TOKEN)).await.status().is_client_error());
    }
}

#[tokio::test]
async fn claims_come_newest_first_and_in_parts() {
    let (world, ids) = World::lively(1_000_000);
    let site = Site::new(world);
    let all = site.json("/api/claims").await;
    assert_eq!(all["total"], 8);
    let listed: Vec<&str> =
        all["claims"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap()).collect();
    let expected: Vec<String> = ids.iter().rev().map(ToString::to_string).collect();
    assert_eq!(listed, expected);
    let part = site.json("/api/claims?offset=6&limit=1").await;
    assert_eq!(part["claims"].as_array().unwrap().len(), 1);
    assert_eq!(part["claims"][0], all["claims"][6]);
    let beyond = site.json("/api/claims?offset=18446744073709551615").await;
    assert_eq!(beyond["claims"], json!([]));
    assert_eq!(site.get("/api/claims?offset=x").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(site.get("/?offset=-1").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_claim_carries_its_raw_samples_and_lineage() {
    let (world, ids) = World::lively(1_000_000);
    let site = Site::new(world);
    let child = site.json(&format!("/api/claims/{}", ids[2])).await;
    assert_eq!(child["claim"]["outcome"], "accepted");
    assert_eq!(child["claim"]["lossless"], false);
    assert_eq!(child["claim"]["author_ratio_ppm"], 1_600_000);
    assert_eq!(child["lineage"]["ancestors"][0]["claim"], ids[0].to_string());
    assert_eq!(child["verdict"]["gates"].as_array().unwrap().len(), 8);
    for seat in child["seats"].as_array().unwrap().iter().take(5) {
        assert_eq!(seat["stage"], "revealed");
        assert_eq!(seat["samples"]["pairs"].as_array().unwrap().len(), 12);
        let ratio = seat["samples"]["ratio"].as_f64().unwrap();
        assert!((ratio - 1.62).abs() < 0.02, "{ratio}");
        let tps = &seat["samples"];
        let speedup = tps["child_tps"].as_f64().unwrap() / tps["parent_tps"].as_f64().unwrap();
        assert!((speedup - ratio).abs() < 0.01);
    }
    let short = site.json(&format!("/api/claims/{}", &ids[2].to_string()[..8])).await;
    assert_eq!(short, child);
}

#[tokio::test]
async fn ids_that_name_nothing_are_explained() {
    let (world, _) = World::lively(1_000_000);
    let base = world.state.base_claim().to_string();
    let site = Site::new(world);
    let zeros = "0".repeat(64);
    for (id, reason) in [
        (zeros.as_str(), "not on this ledger"),
        (base.as_str(), "base recipe"),
        ("abc", "64 hexadecimal digits"),
        ("zzzzzzzz", "64 hexadecimal digits"),
        ("00000000", "no claim on this ledger begins"),
        ("%C3%A9%C3%A9%C3%A9%C3%A9", "64 hexadecimal digits"),
    ] {
        let (status, body) = site.get(&format!("/api/claims/{id}")).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{id}");
        assert!(body.contains(reason), "{id}: {body}");
        let (status, page) = site.get(&format!("/claims/{id}")).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{id}");
        assert!(page.contains("href=\"/\""), "{id}");
    }
}

#[tokio::test]
async fn the_table_as_csv_is_quoted_and_harmless() {
    let (world, _) = World::lively(1_000_000);
    let mut formula = world.clone();
    formula.docket(2, formula.base_with_bundle(77), None, "=HYPERLINK(\"http://x\",\"y\")", 1);
    let site = Site::new(formula);
    let (status, csv) = site.get("/api/claims.csv").await;
    assert_eq!(status, StatusCode::OK);
    let lines: Vec<&str> = csv.trim_end().split("\r\n").collect();
    assert_eq!(lines.len(), 10);
    let columns = lines[0].split(',').count();
    assert_eq!(columns, 30);
    assert!(lines[1].contains("\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\""), "{}", lines[1]);
    assert!(csv.contains("\"<script>alert(1)</script>\"\" onload=x"));
    assert!(csv.contains(",accepted,true,1.30"));
}

#[tokio::test]
async fn the_export_is_passed_on_byte_by_byte() {
    let site = Site::new(World::new(1_000));
    let (status, body) = site.get("/api/ledger/export").await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "assay-ledger-1\0\nitems"));
}

#[tokio::test]
async fn a_claim_is_submitted_with_the_token() {
    let site = Site::new(World::new(1_000));
    let recipe = json!({"checkpoint": "b1".repeat(32), "bundle": "11".repeat(32)});
    let body = json!({"recipe": recipe, "ratio_ppm": 1_300_000, "summary": "faster"});
    let post = |body: String| {
        request("POST", "/api/claims")
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("content-type", "application/json")
            .body(Body::from(body))
            .unwrap()
    };
    let response = site.send(post(body.to_string())).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let accepted: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(accepted["claim"], "aa".repeat(32));
    assert_eq!(accepted["ratio_ppm"], 1_300_000);
    assert_eq!(site.daemon.submitted.lock().unwrap().len(), 1);

    let with = |field: &str, value: serde_json::Value| {
        let mut changed = body.clone();
        changed[field] = value;
        post(changed.to_string())
    };
    let drafter = json!({"checkpoint": "b1".repeat(32), "draft_len": 17});
    let drafting = json!({"checkpoint": "b1".repeat(32), "drafter": drafter});
    for bad in [
        with("summary", json!("x".repeat(201))),
        with("summary", json!("line\nbreak")),
        with("summary", json!("refuse")),
        with("ratio_ppm", json!(0)),
        with("recipe", drafting),
        with("surplus", json!(1)),
        with("parent", json!("short")),
    ] {
        let response = site.send(bad).await;
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert!(text(response).await.starts_with("{\"error\":"));
    }
    assert_eq!(site.send(post("{".to_owned())).await.status(), StatusCode::BAD_REQUEST);
    let long = format!("{{\"summary\":\"{}\"}}", "x".repeat(70_000));
    assert_eq!(site.send(post(long)).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(site.daemon.submitted.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn the_agent_is_shown_to_all_and_switched_with_the_token() {
    let site = Site::new(World::new(1_000));
    assert_eq!(site.json("/api/agent").await["running"], false);
    let order = |token: &str, body: serde_json::Value| {
        request("POST", "/api/agent")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap()
    };
    let start = json!({"start": {"policy": "searcher", "once": true}});
    let refused = site.send(order("f".repeat(32).as_str(), start.clone())).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    for (body, running) in [(start, true), (json!({"start": {}}), true), (json!("stop"), false)] {
        let reply = text(site.send(order(TOKEN, body)).await).await;
        let status: serde_json::Value = serde_json::from_str(&reply).unwrap();
        assert_eq!(status["running"], running, "{reply}");
    }
    for wrong in [json!("destroy"), json!({"start": {"policy": "oracle"}}), json!({"stop": 1})] {
        let status = site.send(order(TOKEN, wrong)).await.status();
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let (_, page) = site.get("/").await;
    assert!(page.contains("searcher, stopped"));
}

#[tokio::test]
async fn wrong_addresses_and_methods_say_where_to_go() {
    let site = Site::new(World::new(1_000));
    let (status, page) = site.get("/nowhere").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(page.contains("There is nothing at this address"));
    let (status, body) = site.get("/api/nowhere").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body.contains("/api/status"));
    for (method, path) in [("POST", "/"), ("DELETE", "/api/claims"), ("PUT", "/claims/x")] {
        let response = site.send(request(method, path).body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
    }
}
