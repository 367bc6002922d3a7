//! What a confined worker can do, and what it cannot.

use crate::support::Bench;
use assay_node::measure::{confine, worker};
use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;

/// In a thread of its own, because confining is for good and everything the thread starts inherits it.
#[test]
fn a_confined_worker_measures_and_can_do_nothing_else() {
    let bench = Bench::new();
    let job = bench.job(bench.base(), bench.base());
    let elsewhere = tempfile::tempdir().unwrap();
    let secret = elsewhere.path().join("key");
    fs::write(&secret, "private").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let worker = std::thread::spawn(move || {
        let gaps = confine(Some(&job));
        if !gaps.is_empty() {
            eprintln!("this kernel confines only in part, so there is nothing to test: {gaps:?}");
            return;
        }
        let own = &job.base.checkpoint;
        let denied: [(&str, io::Result<()>); 8] = [
            ("connecting", TcpStream::connect(address).map(drop)),
            ("a datagram socket", UdpSocket::bind("127.0.0.1:0").map(drop)),
            ("writing elsewhere", fs::write(elsewhere.path().join("new"), "x")),
            ("writing among its files", fs::write(own.join("new"), "x")),
            ("changing its files", fs::write(own.join("config.json"), "{}")),
            ("deleting its files", fs::remove_file(own.join("config.json"))),
            ("reading elsewhere", fs::read(&secret).map(drop)),
            ("starting a program", Command::new("/bin/true").status().map(drop)),
        ];
        for (what, outcome) in denied {
            let kind = outcome.expect_err(what).kind();
            assert_eq!(kind, io::ErrorKind::PermissionDenied, "{what}");
        }
        let measured = worker::measure(&job, &mut |_| {}).unwrap();
        assert_eq!(measured.pairs.len(), job.plan.prompts.len());
    });
    worker.join().unwrap();
}
