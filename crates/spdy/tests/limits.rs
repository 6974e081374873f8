//! How much memory a peer can make a connection take. A program of its own, because it counts every allocation.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use spdy::{Connection, Encoder, Frame, Headers, Role};
use tokio::io::AsyncWriteExt;

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator; only numbers are kept.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a connection may have buffered (8 MiB), and as much again for everything else.
const LIMIT_BYTES: usize = 16 << 20;

/// Sends `chunks` for ever to a server that accepts every stream and reads none; answers how much memory it took.
fn memory_for(start: Vec<u8>, chunks: Vec<u8>, most_sent: usize) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let runtime = runtime.expect("a runtime");
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    runtime.block_on(async {
        let (mut peer, far) = tokio::io::duplex(4 << 10);
        let mut connection = Connection::start(far, Role::Server);
        let mut open = Vec::new();
        let flood = async {
            let mut sent = 0;
            peer.write_all(&start).await?;
            while sent < most_sent {
                peer.write_all(&chunks).await?;
                sent += chunks.len();
            }
            std::io::Result::Ok(())
        };
        let accept = async {
            while let Some(stream) = connection.accept().await {
                stream.reply();
                open.push(stream);
            }
        };
        // The clock is paused: this ends as soon as nothing moves any more.
        let _ = tokio::time::timeout(Duration::from_secs(1), async {
            tokio::join!(flood, accept)
        })
        .await;
    });
    MOST.load(Ordering::Relaxed) - before
}

#[test]
fn no_peer_makes_a_connection_take_more_than_its_limit() {
    let mut runner = TestRunner::new(Config {
        cases: 48,
        ..Config::default()
    });
    let noise = (
        vec(any::<u8>(), 0..200),
        0u8..=255,
        0u32..0xff_ffff,
        vec(any::<u8>(), 1..300),
    );
    runner
        .run(&noise, |(start, kind, length, chunk)| {
            // A plausible head, so that lengths that lie are tried and not only refused versions.
            let mut head = start;
            head.put_slice(&[0x80, 3, 0, kind % 12]);
            head.put_u32(length);
            let took = memory_for(head, chunk, 4 << 20);
            prop_assert!(took < LIMIT_BYTES, "{} MiB", took >> 20);
            Ok(())
        })
        .expect("memory stays below its limit");

    let mut encoder = Encoder::default();
    let mut streams = BytesMut::new();
    for number in 0..5_000u32 {
        let headers = Headers::default()
            .with("streamType", "data")
            .with("port", "80");
        let stream = number * 2 + 1;
        let frame = Frame::SynStream {
            stream,
            associated: 0,
            priority: 0,
            fin: false,
            unidirectional: false,
            headers,
        };
        encoder.encode(&frame, &mut streams);
    }
    let tiny = [0, 0, 0, 1, 0, 0, 0, 1, b'x'].repeat(1000);
    let huge = {
        let mut bytes = BytesMut::new();
        let frame = Frame::Data {
            stream: 3,
            fin: false,
            bytes: vec![0; 1 << 20].into(),
        };
        encoder.encode(&frame, &mut bytes);
        bytes.to_vec()
    };
    let pings = [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1].repeat(1000);
    for (what, flood) in [
        ("one byte at a time", tiny),
        ("a megabyte at a time", huge),
        ("pings", pings),
    ] {
        let took = memory_for(streams.to_vec(), flood, 64 << 20);
        assert!(took < LIMIT_BYTES, "{what}: {} MiB", took >> 20);
    }
}
