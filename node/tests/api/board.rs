//! The board: threads, mentions, search, the digest, playbooks, flags and specs.

use super::samples::Truth;
use super::world::{CLASS, World, peer};
use super::{Site, TOKEN, request, text};
use assay_node::board::{Filter, LINES_MAX, Since};
use assay_protocol::ids::{ClaimId, RecordId};
use assay_protocol::post::{
    Detail, Endorsement, Flag, Forecast, Lever, Plan, Playbook, PostBody, Spec, SpecPart, Table,
    Triage,
};
use axum::body::Body;
use axum::http::StatusCode;
use serde_json::json;

pub(super) fn said(text: &str) -> PostBody {
    PostBody {
        channel: "general".to_owned(),
        thread: None,
        refs: Vec::new(),
        title: String::new(),
        text: text.to_owned(),
        detail: None,
    }
}

pub(super) fn titled(title: &str, text: &str) -> PostBody {
    PostBody { title: title.to_owned(), ..said(text) }
}

pub(super) fn answer(thread: RecordId, text: &str) -> PostBody {
    PostBody { thread: Some(thread), ..said(text) }
}

pub(super) fn with(detail: Detail, text: &str) -> PostBody {
    PostBody { detail: Some(detail), ..said(text) }
}

pub(super) fn flag(subject: RecordId) -> PostBody {
    let rule = "off-channel".to_owned();
    with(
        Detail::Flag(Flag { rule, subject, evidence: None, sighting: None }),
        "asks to go on elsewhere",
    )
}

fn plan(levers: &[&str]) -> PostBody {
    let levers = levers.iter().map(|lever| (*lever).to_owned()).collect();
    with(Detail::Plan(Plan { parent: None, levers }), "about to try")
}

pub(super) fn spec() -> PostBody {
    let part = SpecPart { name: "mlp".to_owned(), bytes_before: 400, bytes_after: 100 };
    let spec = Spec {
        model: "gemma4-nano".to_owned(),
        parts: vec![part],
        bandwidth_mb_s: 20_000,
        change: "int4 weights".to_owned(),
        experiment: "claim it".to_owned(),
    };
    with(Detail::Spec(spec), "")
}

pub(super) fn forecast(ratio_ppm: u64) -> Option<Forecast> {
    Some(Forecast { ratio_ppm, hardware_class: CLASS.to_owned() })
}

#[tokio::test]
async fn threads_mentions_and_words_are_found_again() {
    let mut world = World::new(1_000_000);
    let root = world.post(1, &titled("Int4 on the A10G", "Does anybody have numbers?"));
    let reply = world.post(2, &answer(root, "@bell yes, 1.31× with the fused head"));
    let other = world.post(3, &titled("Drafting", "longer drafts lose here"));
    let waiting = world.whisper(4, &answer(root, "mine are lower; see @ada"));
    let site = Site::new(world);

    let threads = site.json("/api/board/threads").await;
    assert_eq!(threads["total"], 2);
    // What was heard last is at the top, ordered or not.
    assert_eq!(threads["threads"][0]["id"], json!(root));
    assert_eq!(
        (&threads["threads"][0]["posts"], &threads["threads"][0]["voices"]),
        (&json!(3), &json!(3))
    );
    let thread = site.json(&format!("/api/board/threads/{}", reply.short())).await;
    let ids: Vec<_> = thread["posts"].as_array().unwrap().iter().map(|post| &post["id"]).collect();
    assert_eq!(ids, [&json!(root), &json!(reply), &json!(waiting)]);
    assert!(thread["posts"][2]["height"].is_null() && thread["posts"][1]["height"] == 2);

    let found = site.json("/api/board/search?q=FUSED%20head").await;
    assert_eq!((&found["total"], &found["posts"][0]["id"]), (&json!(1), &json!(reply)));
    assert_eq!(site.json("/api/board/search?q=fused%20drafts").await["total"], 0);
    assert_eq!(site.json("/api/board/search?q=drafting").await["posts"][0]["id"], json!(other));
    assert_eq!(site.json("/api/board/mentions").await["posts"][0]["id"], json!(waiting));
    assert_eq!(site.json("/api/board/mentions?peer=bell").await["posts"][0]["id"], json!(reply));
    assert_eq!(site.json("/api/board?author=dirac").await["posts"][0]["id"], json!(other));
    assert_eq!(site.json("/api/board?kind=plan").await["total"], 0);
    assert_eq!(site.json("/api/board?limit=1&offset=1").await["posts"][0]["id"], json!(other));
}

#[tokio::test]
async fn wrong_questions_are_told_what_is_wrong() {
    let site = Site::new(World::new(1_000));
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    for (path, status, words) in [
        ("/api/board/search", unprocessable, "words to look for"),
        ("/api/board?author=nobody", unprocessable, "assay members"),
        ("/api/board?kind=gossip", StatusCode::BAD_REQUEST, "gossip"),
        ("/api/board?colour=red", StatusCode::BAD_REQUEST, "colour"),
        ("/api/board/posts/abc", StatusCode::NOT_FOUND, "first 6"),
        ("/api/board/posts/abcdef", StatusCode::NOT_FOUND, "no post begins"),
        ("/api/board/threads/abcdef", StatusCode::NOT_FOUND, "no post begins"),
        ("/api/board/specs/abcdef", StatusCode::NOT_FOUND, "assay spec list"),
        ("/api/board/playbooks/abcdef", StatusCode::NOT_FOUND, "no post begins"),
        ("/api/board/digest?since=x", StatusCode::BAD_REQUEST, "since"),
    ] {
        let (found, body) = site.get(path).await;
        assert_eq!(found, status, "{path}: {body}");
        assert!(body.contains(words), "{path}: {body}");
    }
}

#[tokio::test]
async fn posting_needs_the_token_and_a_body_within_limits() {
    let site = Site::new(World::new(1_000));
    let send = async |token: &str, body: serde_json::Value| {
        let request = request("POST", "/api/board")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let response = site.send(request).await;
        (response.status(), text(response).await)
    };
    let good = json!({ "body": { "channel": "general", "text": "hello" } });
    assert_eq!(send("guess", good.clone()).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(send(TOKEN, good).await.0, StatusCode::CREATED);
    assert_eq!(site.daemon.said.lock().unwrap()[0].body, said("hello"));
    let long = json!({ "body": { "channel": "general", "text": "x".repeat(9_000) } });
    let (status, body) = send(TOKEN, long).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(body.contains("record field text"), "{body}");
    let unknown = json!({ "body": { "channel": "general", "text": "x", "colour": "red" } });
    assert_eq!(send(TOKEN, unknown).await.0, StatusCode::UNPROCESSABLE_ENTITY);
}

#[test]
fn the_digest_is_bounded_and_puts_what_concerns_the_reader_first() {
    let mut world = World::new(1_000_000);
    let mine = world.post(0, &plan(&["int4", "head"]));
    let seen = world.state.height();
    for number in 0..40 {
        let root = world.post(1 + number % 5, &titled(&format!("Thread {number}"), "chatter"));
        for _ in 0..6 {
            world
                .post(6, &answer(root, &format!("more chatter {number} {}", world.state.height())));
        }
    }
    world.post(2, &plan(&["head"]));
    let call = world.post(3, &said("@ada look at this"));
    let accused = world.post(4, &flag(mine));
    let claim = world.docket(0, world.base_with_bundle(9), None, "own claim", 1_300_000);
    world.settle(claim, Truth::faster(1.3));
    let digest =
        |height, lines| world.board.digest(&world.state, Since { height, me: peer(0), lines });
    let told = digest(seen, 12);
    assert!(told.lines() <= 12, "{}", told.lines());
    assert!(told.left_out.lines > 200 && told.left_out.groups > 30, "{:?}", told.left_out);
    let whys: Vec<&str> =
        told.groups.iter().flat_map(|group| &group.lines).map(|line| line.why.as_str()).collect();
    assert_eq!(whys[..4], ["flag", "mention", "entry", "plan"]);
    assert_eq!(told.groups[0].lines[0].id, accused);
    assert_eq!(told.groups[1].lines[0].id, call);
    assert_eq!((told.since, told.height), (seen, world.state.height()));
    for lines in [0, 1, 2, 3, 5, 50, 100_000] {
        let told = digest(0, lines);
        let all = told.left_out.lines + told.groups.iter().map(|g| g.lines.len()).sum::<usize>();
        assert!(told.lines() <= lines.clamp(2, LINES_MAX), "{lines}");
        assert_eq!(all, 40 * 7 + 4, "nothing is lost without being counted");
    }
    assert!(digest(world.state.height(), 40).groups.is_empty());
    assert!(digest(u64::MAX, 40).groups.is_empty());
}

#[test]
fn a_playbook_is_its_authors_and_operators_endorse_once() {
    let mut world = World::new(1_000_000);
    let book = |revises| Detail::Playbook(Playbook { revises, table: None });
    let first = world
        .post(1, &PostBody { title: "Quantising the head".to_owned(), ..with(book(None), "") });
    let second = world.post(1, &with(book(Some(first)), "second try"));
    world.post(2, &with(book(Some(second)), "somebody else's"));
    let endorse = |playbook| with(Detail::Endorsement(Endorsement { playbook }), "");
    world.post(1, &endorse(second));
    world.post(2, &endorse(first));
    world.post(2, &endorse(second));
    world.post(3, &endorse(second));
    let rows = world.board.playbooks(&world.state);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].revisions, [first, second]);
    assert_eq!(rows[0].latest.text, "second try");
    // Two operators of standing 10 each; the author's own does not count.
    assert_eq!((rows[0].weight, rows[0].endorsed.len()), (20, 2));
}

#[tokio::test]
async fn triage_tables_are_looked_up_and_lever_maps_show_what_the_ledger_says() {
    let mut world = World::new(1_000_000);
    let claim = world.docket(0, world.base_with_bundle(9), None, "int4", 1_300_000);
    world.settle(claim, Truth::faster(1.3));
    let book = |table| Detail::Playbook(Playbook { revises: None, table: Some(table) });
    let row = |sign: &str| Triage {
        sign: sign.to_owned(),
        cause: "the config contradicts itself".to_owned(),
        remedy: "tie the head".to_owned(),
    };
    let triage = book(Table::Triage(vec![row("CK001"), row("out of memory")]));
    let triage = world.post(1, &PostBody { title: "Loading".to_owned(), ..with(triage, "") });
    let lever = |claim| Lever { lever: "int4".to_owned(), note: "half".to_owned(), claim };
    let unknown = ClaimId([7; 32]);
    let map = book(Table::Levers(vec![lever(Some(claim)), lever(None), lever(Some(unknown))]));
    let map = world.post(2, &PostBody { title: "What pays".to_owned(), ..with(map, "") });
    let site = Site::new(world);
    let found = site.json("/api/board/triage?sign=config.json%3A%20ck001%20fails").await;
    assert_eq!((&found[0]["sign"], &found[0]["remedy"]), (&json!("CK001"), &json!("tie the head")));
    assert_eq!((found[0]["playbook"].clone(), found.as_array().unwrap().len()), (json!(triage), 1));
    assert_eq!(site.json("/api/board/triage").await.as_array().unwrap().len(), 2);
    assert_eq!(site.json("/api/board/triage?sign=x").await, json!([]));
    let row = site.json(&format!("/api/board/playbooks/{map}")).await;
    assert_eq!(row["levers"][0]["shown"]["outcome"], "accepted");
    assert!(row["levers"][0]["shown"]["ratio"]["ppm"].as_u64().unwrap() > 1_200_000);
    assert_eq!(
        (&row["levers"][1]["shown"], &row["levers"][2]["shown"]),
        (&json!(null), &json!(null))
    );
    let (_, page) = site.get(&format!("/board/threads/{triage}")).await;
    assert!(page.contains("tie the head"), "{page}");
}

#[tokio::test]
async fn flags_stand_beside_what_they_accuse() {
    let mut world = World::new(1_000_000);
    let root = world.post(1, &titled("Come over", "let us go on in a private group"));
    let raised = world.post(2, &flag(root));
    let site = Site::new(world);
    let thread = site.json(&format!("/api/board/threads/{root}")).await;
    assert_eq!(thread["posts"][0]["flags"][0]["post"]["id"], json!(raised));
    assert_eq!(site.json("/api/board/flags").await[0]["rule"], "off-channel");
    assert_eq!(site.json("/api/board/threads").await["threads"][1]["flags"], 1);
}

#[tokio::test]
async fn a_forecast_is_scored_against_the_committees_measurement() {
    let mut world = World::new(1_000_000);
    let near = world.foretell(1, &spec(), forecast(1_310_000));
    let far = world.foretell(2, &spec(), forecast(3_000_000));
    world.cites = vec![far, near];
    let claim = world.docket(0, world.base_with_bundle(9), None, "int4", 1_300_000);
    world.settle(claim, Truth::faster(1.3));
    world.open(0, claim, 1_300_000);
    assert_eq!(world.state.spec(near).unwrap().credited, Some(claim));
    let site = Site::new(world);
    let row = site.json(&format!("/api/board/specs/{}", near.short())).await;
    assert_eq!(row["scores"][0]["claim"], json!(claim));
    assert_eq!(row["scores"][0]["borne_out"], true);
    assert_eq!(row["credited"], json!(claim));
    let row = site.json(&format!("/api/board/specs/{far}")).await;
    assert_eq!(
        (&row["scores"][0]["borne_out"], &row["scores"][0]["within"]),
        (&json!(false), &json!(false))
    );
    assert!(row["scores"][0]["over_ppm"].as_u64().unwrap() > 2_000_000);
    let (_, explained) = site.get(&format!("/api/explain/{claim}")).await;
    assert!(explained.contains("borne out") && explained.contains("credited"), "{explained}");
}

#[test]
fn a_body_that_comes_later_completes_its_post() {
    let mut world = World::new(1_000_000);
    let body = titled("Late", "the words came late");
    world.post(0, &said("own words are no news"));
    let (id, hash) = world.withhold(1, &body);
    let filter = Filter { limit: 10, ..Filter::default() };
    let list = |world: &World| world.board.posts(&world.state, &filter);
    assert!(!list(&world).posts[0].complete);
    assert_eq!(world.board.search(&world.state, "came", &filter).total, 0);
    assert_eq!(world.board.missing(8), [hash]);
    let seen = world.state.height();
    let since = Since { height: 0, me: peer(0), lines: 40 };
    let digest = world.board.digest(&world.state, since);
    assert!(digest.groups.is_empty() && digest.height < seen, "told of when it can be read");
    world.board.fill(hash, &body.to_bytes());
    let digest = world.board.digest(&world.state, since);
    assert_eq!((digest.groups.len(), digest.height), (1, seen));
    assert!(world.board.missing(8).is_empty());
    assert_eq!(list(&world).posts[0].headline(), "Late");
    assert_eq!(world.board.search(&world.state, "came", &filter).posts[0].id, id);
    assert_eq!(world.board.len(), 2);
}

#[test]
fn a_digest_does_not_wait_for_ever_for_a_body() {
    let mut world = World::new(1_000_000);
    world.post(0, &said("own words are no news"));
    let (withheld, _) = world.withhold(1, &said("gone"));
    for number in 0..40 {
        world.post(2, &said(&format!("chatter {number}")));
    }
    let told = world.board.digest(&world.state, Since { height: 0, me: peer(0), lines: 400 });
    assert_eq!(told.height, world.state.height());
    assert!(told.groups.iter().any(|group| group.id == withheld), "told of without its words");
}

#[test]
fn a_body_of_another_kind_than_promised_stays_unread() {
    let mut world = World::new(1_000_000);
    let (_, hash) = world.withhold(1, &said("a message"));
    world.board.fill(hash, b"no body at all");
    assert!(world.board.missing(8).is_empty(), "asking again would bring the same");
    let posts = world.board.posts(&world.state, &Filter { limit: 10, ..Filter::default() });
    assert!(!posts.posts[0].complete);
}

#[test]
fn what_waited_and_was_ordered_is_one_post() {
    let mut world = World::new(1_000_000);
    let id = world.whisper(1, &said("soon"));
    assert_eq!(world.board.waiting(), [id]);
    assert_eq!(world.post(1, &said("soon")), id);
    assert!(world.board.waiting().is_empty());
    world.board.drop_waiting(&[id]);
    assert_eq!(world.board.len(), 1);
    let lost = world.whisper(2, &said("never"));
    world.board.drop_waiting(&[lost]);
    assert_eq!(world.board.len(), 1);
}

const HOSTILE: &str =
    "<script>alert(1)</script> \u{1f}\u{202e}desrever\u{2066} https://evil.example/x @ada";

#[tokio::test]
async fn the_board_page_shows_threads_quotes_flags_and_filters() {
    let mut world = World::new(1_000_000);
    let root = world.post(1, &titled("Int4 on the A10G", "Does anybody have numbers?"));
    let quoting = PostBody { refs: vec![root], ..answer(root, "@ada 1.31×") };
    let reply = world.post(2, &quoting);
    let raised = world.post(3, &flag(reply));
    world.foretell(4, &spec(), forecast(1_310_000));
    let (missing, _) = world.withhold(5, &said("lost"));
    let site = Site::new(world);
    let (status, page) = site.get("/board").await;
    assert_eq!(status, StatusCode::OK);
    for words in
        ["Int4 on the A10G", "#general", "mentions of this node", "off-channel", "role=\"search\""]
    {
        assert!(page.contains(words), "{words}");
    }
    let (_, page) = site.get(&format!("/board/threads/{}", root.short())).await;
    for words in [
        "<blockquote>",
        "flagged by",
        "class=\"mention\"",
        &format!("id=\"p{}\"", reply.short()),
        &raised.short(),
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    for (path, words) in [
        ("/board?q=numbers", "Posts with"),
        ("/board?mentions=true", "1.31×"),
        ("/board?kind=spec", "gemma4-nano"),
        ("/board?channel=general&author=bell", "Int4 on"),
        ("/", "href=\"/board\""),
    ] {
        let (status, page) = site.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(page.contains(words), "{path}: {page}");
    }
    let (_, page) = site.get(&format!("/board/threads/{missing}")).await;
    assert!(page.contains("No peer has given"));
    assert_eq!(site.get("/board?author=nobody").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(site.get("/board?colour=red").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(site.get("/board/threads/zz").await.0, StatusCode::NOT_FOUND);
    assert_eq!(
        site.get(&format!("/board/threads/{}", "ab".repeat(32))).await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn hostile_words_stay_words_on_the_page() {
    let mut world = World::new(1_000_000);
    let text = HOSTILE.replace('\u{1f}', "");
    let root = world.post(1, &titled(&text, &text));
    let spec = PostBody {
        thread: Some(root),
        refs: vec![root],
        ..with(Detail::Spec(hostile_spec(&text)), &text)
    };
    world.foretell(2, &spec, forecast(1_200_000));
    let site = Site::new(world);
    for path in
        ["/board".to_owned(), format!("/board/threads/{root}"), "/board?q=script".to_owned()]
    {
        let (_, page) = site.get(&path).await;
        assert!(!page.contains("<script>alert") && page.contains("&lt;script&gt;"), "{path}");
        assert!(!page.contains('\u{202e}') && !page.contains('\u{2066}'), "{path}");
        assert!(!page.contains("href=\"https://evil"), "{path}: no address becomes a link");
    }
}

fn hostile_spec(text: &str) -> Spec {
    let part = SpecPart { name: "mlp".to_owned(), bytes_before: 4, bytes_after: 1 };
    let line = text.to_owned();
    Spec {
        model: line.clone(),
        parts: vec![part],
        bandwidth_mb_s: 1,
        change: line.clone(),
        experiment: line,
    }
}

#[tokio::test]
async fn an_invitation_to_go_elsewhere_is_marked_by_itself() {
    let mut world = World::new(1_000_000);
    let root = world.post(1, &said("join us on t e l e g r a m, results are shared there"));
    let fine = world.post(2, &answer(root, "we refused to go to Telegram"));
    let raised = world.post(3, &flag(root));
    let digest = world.board.digest(&world.state, Since { height: 0, me: peer(0), lines: 40 });
    assert!(
        digest.groups.iter().any(|group| group.lines.iter().any(|l| l.why == "solicits")),
        "{digest:?}"
    );
    let site = Site::new(world);
    let marked =
        async |id: RecordId| site.json(&format!("/api/board/posts/{id}")).await["solicits"].clone();
    assert!(marked(root).await.as_str().unwrap().contains("telegram"));
    assert!(marked(fine).await.is_null() && marked(raised).await.is_null());
    let (_, page) = site.get(&format!("/board/threads/{root}")).await;
    assert!(page.contains("asks to go on elsewhere"));
}
