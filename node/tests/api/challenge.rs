//! The challenge page: the score over time, the leaderboards, and what a tie is.

use super::Site;
use super::world::{CLASS, World};
use axum::http::StatusCode;

#[tokio::test]
async fn the_score_follows_the_published_best() {
    let (world, ids) = World::lively(1_000_000);
    let height = world.state.claim(ids[0]).unwrap().deciding().unwrap().settled_at.unwrap();
    let site = Site::new(world);
    let best = site.json("/api/best").await;
    let best = best.as_array().unwrap();
    assert_eq!(best.len(), 2, "{best:?}");
    assert_eq!(
        (best[0]["height"].as_u64(), best[0]["ratio_to_base_ppm"].as_u64()),
        (Some(0), Some(1_000_000))
    );
    assert_eq!(
        (&best[1]["claim"], best[1]["height"].as_u64()),
        (&ids[0].to_string().into(), Some(height))
    );
    let score = site.json(&format!("/api/score?class={CLASS}")).await;
    let score = score.as_array().unwrap();
    assert_eq!(score.len(), 8);
    let of =
        |index: usize| score.iter().find(|row| row["claim"] == ids[index].to_string()).unwrap();
    assert_eq!((&of(1)["fate"], &of(6)["fate"]), (&"refuted".into(), &"open".into()));
    assert_eq!((&of(0)["track"], &of(2)["track"]), (&"lossless".into(), &"lossy".into()));
    let speed = of(2)["ratio_to_base_ppm"].as_u64().unwrap();
    assert!((2_050_000..2_170_000).contains(&speed), "1.304 times 1.62: {speed}");
}

#[tokio::test]
async fn leaders_stand_by_track_with_their_figures() {
    let (world, ids) = World::lively(1_000_000);
    let site = Site::new(world);
    let rows = site.json("/api/leaderboard").await;
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0]["claim"], &rows[0]["leads"]), (&ids[0].to_string().into(), &true.into()));
    assert_eq!((&rows[1]["track"], rows[1]["seats"].as_u64()), (&"lossy".into(), Some(5)));
    assert!(rows[0]["decode_mtps"].as_u64().is_some());
    assert_eq!(site.json("/api/leaderboard?track=lossy").await.as_array().unwrap().len(), 1);
    assert_eq!(site.get("/api/leaderboard?track=x").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_page_says_what_a_tie_is_and_what_would_change_the_ranking() {
    let site = Site::new(World::lively(1_000_000).0);
    let (_, page) = site.get("/").await;
    for words in [
        "Score over time",
        "A new best",
        "a second committee",
        "Lossless leaderboard",
        "Lossy leaderboard",
        "Speed against quality",
        "Tokens/s",
        "A tie",
        "seats with",
        "class=\"band\"",
        "aria-current=\"page\">Challenge",
    ] {
        assert!(page.contains(words), "{words}");
    }
    let (status, other) = site.get("/?class=%3Cscript%3E").await;
    assert_eq!(status, StatusCode::OK);
    assert!(other.contains(CLASS) && !other.contains("<script>"));
    let (_, empty) = Site::new(World::new(1_000)).get("/").await;
    assert!(
        empty.contains("Nothing was measured for this class yet")
            && empty.contains("The base recipe leads")
    );
}
