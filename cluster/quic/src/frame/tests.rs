//! Any bytes decode to a value or an error, and every value comes back.

use bytes::BytesMut;
use headwater_cluster::{Envelope, Incarnation, Lane, NodeId, ProtocolRange};
use proptest::prelude::{Strategy, any};
use proptest::{collection, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{
    ENVELOPE_HEADER_BYTES, FRAME_BYTES_MAX, Frame, FrameError, Hello, LaneFrame, PREFIX_BYTES,
    put_envelope,
};

fn hello() -> impl Strategy<Value = Hello> {
    let name = "[A-Za-z0-9._-]{1,64}";
    let numbers = (any::<u16>(), any::<u16>(), any::<u64>(), 1..=64_u16, 1..=u32::MAX);
    (name, name, "[!-~]{0,300}", numbers).prop_map(|(cluster, node, advertise, numbers)| {
        let (a, b, incarnation, lanes, payload_bytes) = numbers;
        Hello {
            versions: ProtocolRange { oldest: a.min(b), newest: a.max(b) },
            cluster,
            node: NodeId::new(node).unwrap(),
            incarnation: Incarnation(incarnation),
            lanes,
            payload_bytes,
            advertise,
        }
    })
}

fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        hello().prop_map(Frame::Hello),
        any::<u64>().prop_map(|generation| Frame::Keep { generation }),
        any::<u64>().prop_map(|generation| Frame::Control { generation }),
        proptest::strategy::Just(Frame::ControlKept),
    ]
}

fn split(bytes: &[u8]) -> (Result<usize, FrameError>, &[u8]) {
    let (prefix, body) = bytes.split_first_chunk::<PREFIX_BYTES>().unwrap();
    (Frame::body_bytes(*prefix), body)
}

proptest! {
    #[test]
    fn frames_come_back_whole_and_appended_to(frame in frame(), later in any::<[u8; 5]>()) {
        let bytes = frame.encode();
        let (length, body) = split(&bytes);
        prop_assert_eq!(length, Ok(body.len()));
        prop_assert!(body.len() <= FRAME_BYTES_MAX);
        prop_assert_eq!(Frame::decode(body), Ok(frame.clone()));
        let appended = [body, &later].concat();
        prop_assert_eq!(Frame::decode(&appended), Ok(frame));
    }

    #[test]
    fn a_cut_frame_is_truncated(frame in frame(), kept in any::<proptest::sample::Index>()) {
        let bytes = frame.encode();
        let (_, body) = split(&bytes);
        let cut = &body[..kept.index(body.len())];
        prop_assert_eq!(Frame::decode(cut), Err(FrameError::Truncated));
    }

    #[test]
    fn no_bytes_panic(mut bytes in collection::vec(any::<u8>(), 6..400), kind in 0..6_u8) {
        let _ = split(&bytes);
        let _ = Frame::decode(&bytes);
        bytes[0] = kind;
        let _ = Frame::decode(&bytes);
        if let Ok(Some(frame)) = LaneFrame::decode(&bytes, 100) {
            prop_assert!(frame.payload.len() <= 100 && frame.wire_bytes() <= bytes.len());
        }
    }

    #[test]
    fn a_changed_byte_never_panics(
        hello in hello(), at in any::<proptest::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = Frame::Hello(hello).encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let (_, body) = split(&bytes);
        let _ = Frame::decode(body);
    }

    #[test]
    fn envelopes_come_back_in_order(
        sent in collection::vec((any::<u16>(), any::<u64>(), collection::vec(any::<u8>(), 0..50)), 1..5),
        missing in 1..10_usize,
    ) {
        let mut out = BytesMut::new();
        let node = NodeId::new("a").unwrap();
        for (lane, sequence, payload) in &sent {
            let (from, to) = (node.clone(), node.clone());
            let (lane, sequence, payload) = (Lane(*lane), *sequence, payload.clone());
            put_envelope(&mut out, &Envelope { from, to, lane, sequence, payload });
        }
        let mut rest = &out[..];
        for (lane, sequence, payload) in sent {
            let frame = LaneFrame::decode(rest, 50).unwrap().unwrap();
            let cut = &rest[..frame.wire_bytes() - missing];
            prop_assert_eq!(LaneFrame::decode(cut, 50), Ok(None));
            rest = &rest[frame.wire_bytes()..];
            prop_assert_eq!(frame, LaneFrame { lane: Lane(lane), sequence, payload });
        }
        prop_assert!(rest.is_empty());
    }
}

#[test]
fn what_is_too_long_or_strange_is_refused() {
    let too_long = FrameError::TooLong { given_bytes: 1_025, allowed_bytes: 1_024 };
    assert_eq!(Frame::body_bytes(*b"hwq1\x04\x01"), Err(too_long));
    assert_eq!(Frame::body_bytes(*b"GET / "), Err(FrameError::Magic));
    assert_eq!(Frame::decode(&[9, 0, 0]), Err(FrameError::Kind(9)));
    // The length alone refuses an envelope: nothing of it is held before.
    let header = [0, 0, 0, 51];
    let too_long = FrameError::TooLong { given_bytes: 51, allowed_bytes: 50 };
    assert_eq!(LaneFrame::decode(&header, 50), Err(too_long));
    assert_eq!(LaneFrame::decode(&[0; ENVELOPE_HEADER_BYTES - 1], 50), Ok(None));
}

#[test]
fn fields_out_of_range_are_refused() {
    let good = Hello {
        versions: ProtocolRange { oldest: 1, newest: 2 },
        cluster: "c".to_owned(),
        node: NodeId::new("n").unwrap(),
        incarnation: Incarnation(1),
        lanes: 4,
        payload_bytes: 1,
        advertise: "h:1".to_owned(),
    };
    let empty = ProtocolRange { oldest: 2, newest: 1 };
    let cases = [
        (Hello { versions: empty, ..good.clone() }, "versions"),
        (Hello { cluster: "c c".to_owned(), ..good.clone() }, "cluster"),
        (Hello { lanes: 0, ..good.clone() }, "lanes"),
        (Hello { lanes: 65, ..good.clone() }, "lanes"),
        (Hello { payload_bytes: 0, ..good.clone() }, "payload_bytes"),
        (Hello { advertise: "a\nb".to_owned(), ..good.clone() }, "advertise"),
        (Hello { advertise: "a".repeat(301), ..good }, "advertise"),
    ];
    for (hello, field) in cases {
        let bytes = Frame::Hello(hello).encode();
        assert_eq!(Frame::decode(&bytes[PREFIX_BYTES..]), Err(FrameError::Field(field)));
    }
}
