//! Other sites, guesses and hostile text get nowhere.

use super::world::World;
use super::{Site, TOKEN, request, text};
use axum::body::Body;
use axum::http::{Request, StatusCode};

#[tokio::test]
async fn only_names_of_this_machine_are_answered() {
    let site = Site::new(World::new(1_000));
    for path in ["/", "/api/status", "/live", "/healthz", "/assets/live.js", "/nowhere"] {
        for host in ["evil.example", "localhost.evil.example:7070", "169.254.169.254"] {
            let request = Request::get(path).header("host", host).body(Body::empty()).unwrap();
            let response = site.send(request).await;
            assert_eq!(response.status(), StatusCode::MISDIRECTED_REQUEST, "{path} {host}");
        }
        let nameless = Request::get(path).body(Body::empty()).unwrap();
        assert_eq!(site.send(nameless).await.status(), StatusCode::MISDIRECTED_REQUEST);
    }
}

#[tokio::test]
async fn scripts_of_other_origins_are_refused_and_links_are_not() {
    let site = Site::new(World::new(1_000));
    let ask = |origin: &str, mode: &str| {
        let request = request("GET", "/").header("sec-fetch-site", origin);
        request.header("sec-fetch-mode", mode).body(Body::empty()).unwrap()
    };
    for origin in ["cross-site", "same-site"] {
        assert_eq!(site.send(ask(origin, "no-cors")).await.status(), StatusCode::FORBIDDEN);
        assert_eq!(site.send(ask(origin, "navigate")).await.status(), StatusCode::OK);
    }
    assert_eq!(site.send(ask("same-origin", "cors")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn nothing_is_submitted_without_the_token() {
    let site = Site::new(World::new(1_000));
    let guesses = [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Bearer {}", &TOKEN[1..]),
        format!("Bearer {TOKEN} "),
        format!("Bearer {TOKEN}0"),
        format!("Basic {TOKEN}"),
        TOKEN.to_owned(),
    ];
    for guess in guesses {
        let request = request("POST", "/api/claims")
            .header("authorization", &guess)
            .header("content-type", "application/json")
            .body(Body::from("{}"))
            .unwrap();
        let response = site.send(request).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{guess:?}");
        assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"assay\"");
        assert!(text(response).await.contains("Authorization"));
    }
    let bare = request("POST", "/api/claims").body(Body::empty()).unwrap();
    assert_eq!(site.send(bare).await.status(), StatusCode::UNAUTHORIZED);
    assert!(site.daemon.submitted.lock().unwrap().is_empty());
}

#[tokio::test]
async fn every_answer_carries_the_safe_headers() {
    let site = Site::new(World::new(1_000));
    for path in ["/", "/nowhere", "/api/status", "/assets/style.css", "/claims/x"] {
        let response = site.send(request("GET", path).body(Body::empty()).unwrap()).await;
        let headers = response.headers();
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{path}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert_eq!(headers["cross-origin-resource-policy"], "same-origin");
        assert!(headers.get("access-control-allow-origin").is_none());
    }
}

#[tokio::test]
async fn hostile_text_is_text_and_pages_stay_at_home() {
    let (mut world, ids) = World::lively(1_000_000);
    let link = "see http://evil.example/x and javascript:alert(1)";
    let linked = world.docket(2, world.base_with_bundle(99), None, link, 1);
    let site = Site::new(world);
    for path in ["/".to_owned(), format!("/claims/{}", ids[4]), format!("/claims/{linked}")] {
        let (status, page) = site.get(&path).await;
        assert_eq!(status, StatusCode::OK);
        assert!(!page.contains("<script>") && !page.contains("onload=x \u{202e}"), "{path}");
        assert_eq!(page.matches("<script").count(), 1, "{path}");
        assert!(!page.contains(" style=") && !page.contains("<style"), "{path}");
        for attribute in ["href=\"", "src=\""] {
            for part in page.split(attribute).skip(1) {
                assert!(part.starts_with('/') || part.starts_with('#'), "{path}: {part:.40}");
            }
        }
    }
    let (_, page) = site.get(&format!("/claims/{}", ids[4])).await;
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot; onload=x \u{fffd}desrever"));
}
