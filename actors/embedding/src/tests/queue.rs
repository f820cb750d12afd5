//! The queue's own accounts.

use crate::{BatchSettings, Item, ItemId, Queue, RequestId};

fn item(request: u64, index: usize, tokens: usize, order_ms: u64, suspect: bool) -> Item {
    let id = ItemId { request: RequestId(request), index };
    Item { id, tokens, arrived_ms: order_ms, order_ms, losses: 0, suspect }
}

fn ids(items: &[Item]) -> Vec<(u64, usize)> {
    items.iter().map(|item| (item.id.request.0, item.id.index)).collect()
}

#[test]
fn accounts_follow_every_push_and_take() {
    let mut queue = Queue::default();
    assert!(queue.is_empty());
    assert_eq!(queue.oldest_ms(), None);
    queue.push(item(1, 0, 10, 5, false));
    queue.push(item(1, 1, 20, 6, false));
    queue.push(item(2, 0, 30, 3, true));
    assert_eq!((queue.len(), queue.tokens(), queue.oldest_ms()), (3, 60, Some(3)));
    assert_eq!(queue.remove_request(RequestId(1)), 2);
    assert_eq!((queue.len(), queue.tokens(), queue.oldest_ms()), (1, 30, Some(3)));
    assert_eq!(queue.remove_request(RequestId(1)), 0);
    assert_eq!(queue.remove_request(RequestId(2)), 1);
    assert_eq!((queue.is_empty(), queue.tokens()), (true, 0));
    assert!(queue.next_batch(&BatchSettings::default()).is_empty());
}

#[test]
fn the_closest_lengths_join_first() {
    let mut queue = Queue::default();
    for (request, tokens) in [(1, 50), (2, 40), (3, 48), (4, 55), (5, 80), (6, 49)] {
        queue.push(item(request, 0, tokens, request, false));
    }
    let settings = BatchSettings { batch_tokens: 220, batch_rows: 8, ..Default::default() };
    let batch = queue.next_batch(&settings);
    assert_eq!(ids(&batch), [(1, 0), (6, 0), (3, 0), (4, 0)]);
    assert_eq!((queue.len(), queue.tokens()), (2, 120));
}

#[test]
fn suspects_run_first_with_their_own_request_and_keep_to_the_limits() {
    let mut queue = Queue::default();
    queue.push(item(9, 0, 10, 0, false));
    for (index, tokens) in [10, 100, 9, 10, 8].into_iter().enumerate() {
        queue.push(item(2, index, tokens, 1, true));
    }
    queue.push(item(3, 0, 10, 1, true));
    let settings = BatchSettings {
        batch_tokens: 200,
        batch_rows: 3,
        padding_percent: 25,
        ..Default::default()
    };
    let batches: Vec<_> = (0..5).map(|_| ids(&queue.next_batch(&settings))).collect();
    let expected: [&[(u64, usize)]; 5] =
        [&[(2, 0), (2, 2), (2, 3)], &[(2, 1)], &[(2, 4)], &[(3, 0)], &[(9, 0)]];
    assert_eq!(batches, expected);
}
