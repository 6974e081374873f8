//! Any bytes at all: nothing panics, nothing is made up, and what was written is read back however it is cut.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use spdy::{Connection, Decoder, Encoder, Frame, Headers, Role, Setting};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn headers() -> impl Strategy<Value = Headers> {
    vec(("[a-z][a-zA-Z-]{0,20}", "\\PC{0,60}"), 0..6).prop_map(|pairs| {
        let add = |headers: Headers, (name, value): (String, String)| headers.with(&name, value);
        pairs.into_iter().fold(Headers::default(), add)
    })
}

fn frame() -> impl Strategy<Value = Frame> {
    let stream = 1u32..0x7fff_ffff;
    prop_oneof![
        (
            stream.clone(),
            0u8..8,
            any::<bool>(),
            any::<bool>(),
            headers()
        )
            .prop_map(|(stream, priority, fin, unidirectional, headers)| {
                Frame::SynStream {
                    stream,
                    associated: 0,
                    priority,
                    fin,
                    unidirectional,
                    headers,
                }
            }),
        (stream.clone(), any::<bool>(), headers()).prop_map(|(stream, fin, headers)| {
            Frame::SynReply {
                stream,
                fin,
                headers,
            }
        }),
        (stream.clone(), any::<bool>(), headers()).prop_map(|(stream, fin, headers)| {
            Frame::Headers {
                stream,
                fin,
                headers,
            }
        }),
        (stream.clone(), any::<u32>())
            .prop_map(|(stream, status)| Frame::RstStream { stream, status }),
        (
            any::<bool>(),
            vec((any::<u8>(), 0u32..0xff_ffff, any::<u32>()), 0..4)
        )
            .prop_map(|(clear, entries)| {
                let entry = |(flags, id, value)| Setting { flags, id, value };
                Frame::Settings {
                    clear,
                    entries: entries.into_iter().map(entry).collect(),
                }
            }),
        any::<u32>().prop_map(|id| Frame::Ping { id }),
        (stream.clone(), any::<u32>())
            .prop_map(|(last_good, status)| Frame::GoAway { last_good, status }),
        (stream.clone(), 0u32..0x7fff_ffff)
            .prop_map(|(stream, delta)| Frame::WindowUpdate { stream, delta }),
        (stream, any::<bool>(), vec(any::<u8>(), 0..300)).prop_map(|(stream, fin, bytes)| {
            Frame::Data {
                stream,
                fin,
                bytes: bytes.into(),
            }
        }),
    ]
}

/// Joins the parts in which data frames arrive.
fn join(frames: Vec<Frame>) -> Vec<Frame> {
    let mut joined: Vec<Frame> = Vec::new();
    let mut is_partial = false;
    for frame in frames {
        match (frame, joined.last_mut()) {
            (
                Frame::Data { stream, fin, bytes },
                Some(Frame::Data {
                    stream: last,
                    fin: ends,
                    bytes: before,
                }),
            ) if is_partial && stream == *last => {
                *before = Bytes::from([&before[..], &bytes[..]].concat());
                *ends = fin;
            }
            (frame, _) => joined.push(frame),
        }
        is_partial = matches!(joined.last(), Some(Frame::Data { .. }));
    }
    joined
}

fn wire(frames: &[Frame]) -> BytesMut {
    let (mut encoder, mut out) = (Encoder::default(), BytesMut::new());
    frames
        .iter()
        .for_each(|frame| encoder.encode(frame, &mut out));
    out
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_however_it_is_cut(frames in vec(frame(), 0..12), cuts in vec(1usize..80, 1..20)) {
        // Data frames are kept apart by a ping, since parts of one look like another.
        let apart: Vec<Frame> = frames.into_iter().flat_map(|frame| [frame, Frame::Ping { id: 1 }]).collect();
        let mut wire = wire(&apart);
        let (mut decoder, mut arrived, mut read) = (Decoder::default(), BytesMut::new(), Vec::new());
        for cut in cuts.iter().cycle() {
            while let Some(frame) = decoder.decode(&mut arrived).expect("valid") {
                read.push(frame);
            }
            if wire.is_empty() {
                break;
            }
            arrived.unsplit(wire.split_to((*cut).min(wire.len())));
        }
        prop_assert_eq!(join(read), apart);
    }

    #[test]
    fn bytes_that_are_no_frames_are_an_error_or_nothing(bytes in vec(any::<u8>(), 0..2000)) {
        let (mut decoder, mut arrived) = (Decoder::default(), BytesMut::from(&bytes[..]));
        let mut taken = 0;
        while let Ok(Some(frame)) = decoder.decode(&mut arrived) {
            if let Frame::Data { bytes, .. } = frame {
                taken += bytes.len();
            }
        }
        prop_assert!(taken <= bytes.len());
    }

    #[test]
    fn a_connection_survives_any_peer(
        frames in vec(frame(), 0..12),
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        noise in vec(any::<u8>(), 0..64),
    ) {
        let mut wire = wire(&frames).to_vec();
        for (place, value) in flips {
            if !wire.is_empty() {
                let place = place.index(wire.len());
                wire[place] = value;
            }
        }
        wire.extend(noise);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let (near, far) = tokio::io::duplex(1 << 16);
            let mut connection = Connection::start(near, Role::Server);
            let (mut answers, mut peer) = tokio::io::split(far);
            let sent = async move {
                let _ = peer.write_all(&wire).await;
                let _ = peer.shutdown().await;
            };
            let heard = async {
                let mut all = Vec::new();
                let _ = answers.read_to_end(&mut all).await;
            };
            let served = async {
                while let Some(mut stream) = connection.accept().await {
                    stream.reply();
                    let mut some = [0; 64];
                    let _ = tokio::time::timeout(std::time::Duration::from_millis(1), stream.read(&mut some)).await;
                    let _ = stream.write_all(b"hello").await;
                }
                connection.gone().await;
            };
            tokio::join!(sent, heard, served);
        });
    }
}
