use std::net::Ipv4Addr;

use tokio::net::UdpSocket;

use super::*;

#[tokio::test]
async fn an_address_belongs_to_who_proves_it() {
    let mux = Mux::bind(&[(Ipv4Addr::LOCALHOST, 0).into()], None).await.unwrap();
    let (route, ice) = (mux.route(), Generation::random());
    route.answers_to(ice.clone());
    let (mut v4, _v6) = route.datagrams();
    let publisher = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    publisher.connect(mux.udp()[0]).await.unwrap();
    let mut forged = ice.clone();
    forged.ours.password = "guessed".into();
    publisher.send(b"\x80media from nobody").await.unwrap();
    publisher.send(&forged.check()).await.unwrap();
    publisher.send(&ice.check()).await.unwrap();
    publisher.send(b"\x80media").await.unwrap();
    let (from, first) = v4.recv().await.unwrap();
    assert_eq!(first, ice.check(), "nothing before it came through");
    assert_eq!(v4.recv().await.unwrap().1, b"\x80media"[..]);
    mux.send(1, from, b"answer").unwrap();
    let mut answer = [0; 16];
    assert_eq!(publisher.recv(&mut answer).await.unwrap(), 6);
}
