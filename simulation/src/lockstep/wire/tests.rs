//! Every frame reads back as it was written, and a broken one is refused.

use super::{FromNode, Hello, Passing, Stretch, ToNode, decode_deeds, encode_deeds, get, put};

fn passings() -> Vec<Passing> {
    vec![
        Passing::Envelope { lane: 7, sequence: 1 << 40, payload: vec![1, 2, 3] },
        Passing::EnvelopesTaken { count: 3 },
        Passing::StreamOpened { stream: 9 },
        Passing::StreamBytes { stream: 9, bytes: vec![0; 300] },
        Passing::StreamTaken { stream: 9, bytes: 300 },
        Passing::StreamFinished { stream: 9 },
        Passing::StreamGivenUp { stream: 9, reading: true, writing: false },
    ]
}

#[test]
fn every_event_to_a_node_reads_back() {
    let mut events = vec![
        ToNode::LinkUp { peer: 1, round: 2, incarnation: 3 },
        ToNode::LinkDown { peer: 1, round: 2, why: "idle".to_owned() },
        ToNode::ControlOpened { peer: 1, round: 2, stream: 1 << 63, dialled: true },
        ToNode::StoreAnswered { call: 4, answer: vec![5] },
        ToNode::StoreLost { call: 4, sent: true },
        ToNode::Work(vec![6]),
        ToNode::Finish,
    ];
    events.extend(passings().into_iter().map(|passing| ToNode::Passed { peer: 2, passing }));
    let events = events.into_iter().zip(10..).map(|(event, at_ms)| (at_ms, event)).collect();
    let stretch =
        Stretch { from_ms: 10, until_ms: 99, wall_offset_ms: -5, messages_first: true, events };
    let body = stretch.encode();
    assert_eq!(Stretch::decode(&body), Ok(stretch));
    for end in 0..body.len() {
        assert!(Stretch::decode(&body[..end]).is_err(), "{end} of {} bytes", body.len());
    }
}

#[test]
fn every_deed_of_a_node_reads_back() {
    let mut deeds = vec![
        FromNode::Introduce { peer: 1 },
        FromNode::Forget { peer: 1 },
        FromNode::ControlClosed { peer: 1, stream: 2 },
        FromNode::AskStore { call: 1, request: vec![1] },
        FromNode::Result(vec![2]),
        FromNode::Note("note".to_owned()),
        FromNode::Counted("count".to_owned()),
        FromNode::Violated("violation".to_owned()),
        FromNode::Report(vec![3]),
    ];
    deeds.extend(passings().into_iter().map(|passing| FromNode::Pass {
        peer: 0,
        round: 8,
        passing,
    }));
    let deeds: Vec<(u64, FromNode)> =
        deeds.into_iter().zip(10..).map(|(deed, at_ms)| (at_ms, deed)).collect();
    assert_eq!(decode_deeds(&encode_deeds(&deeds)), Ok(deeds));
}

#[test]
fn a_hello_passes_through_a_pipe() {
    let hello = Hello {
        seed: 1,
        node: 2,
        nodes: 3,
        incarnation: 4,
        now_ms: 5,
        wall_offset_ms: -6,
        workload: "demonstration".to_owned(),
        parameters: "rate = 1".to_owned(),
    };
    let mut pipe = Vec::new();
    put(&mut pipe, &hello.encode()).unwrap();
    assert_eq!(Hello::decode(&get(&mut pipe.as_slice()).unwrap()), Ok(hello));
    assert!(get(&mut &pipe[..pipe.len() - 1]).is_err());
    assert!(get(&mut &[0xff; 8][..]).is_err());
}
