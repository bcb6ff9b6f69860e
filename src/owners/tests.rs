use super::*;

#[path = "../../chat/tests/common/redis.rs"]
mod server;

#[tokio::test]
async fn a_broadcast_is_one_nodes() {
    let redis = server::Redis::start();
    let node = |name: &str| Owners::new(&redis.url(), &format!("https://{name}.test/")).unwrap();
    let (one, two) = (node("one"), node("two"));
    let id: BroadcastId = "algebra".parse().unwrap();
    assert_eq!(one.elsewhere(&id).await, None);
    assert_eq!(one.claim(&id).await, Ok(()));
    assert_eq!(one.claim(&id).await, Ok(()), "for longer");
    assert_eq!(one.elsewhere(&id).await, None, "here");
    assert_eq!(two.elsewhere(&id).await, Some("https://one.test".into()));
    assert_eq!(two.claim(&id).await, Err("https://one.test".into()));
    two.release(&id).await;
    assert_eq!(
        two.claim(&id).await,
        Err("https://one.test".into()),
        "not its own to give"
    );
    one.release(&id).await;
    assert_eq!(two.claim(&id).await, Ok(()));
}

#[tokio::test]
async fn a_node_that_is_gone_holds_nothing_for_long() {
    let redis = server::Redis::start();
    let one = Owners::new(&redis.url(), "https://one.test").unwrap();
    let id: BroadcastId = "algebra".parse().unwrap();
    one.claim(&id).await.unwrap();
    let mut connection = redis.connection().await;
    let left: i64 = redis::cmd("PTTL")
        .arg(key(&id))
        .query_async(&mut connection)
        .await
        .unwrap();
    assert!((1..=LEASE.as_millis() as i64).contains(&left), "{left} ms");
}

#[tokio::test]
async fn without_redis_nobody_is_sent_away() {
    let mut redis = server::Redis::start();
    let (one, id) = (
        Owners::new(&redis.url(), "https://one.test").unwrap(),
        "algebra".parse().unwrap(),
    );
    let two = Owners::new(&redis.url(), "https://two.test").unwrap();
    two.claim(&id).await.unwrap();
    assert!(one.elsewhere(&id).await.is_some());
    redis.kill();
    assert_eq!(one.elsewhere(&id).await, None);
    assert_eq!(one.claim(&id).await, Ok(()));
    redis.restart();
    assert!(one.elsewhere(&id).await.is_some(), "connected anew");
}
