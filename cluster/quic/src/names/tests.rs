//! Names survive the way into a certificate and back, and fit DNS.

use headwater_cluster::NodeId;
use proptest::{prop_assert, prop_assert_eq, proptest};

use super::{cluster, node, of_cluster, of_node};

proptest! {
    #[test]
    fn every_name_comes_back_and_fits_dns(name in "[A-Za-z0-9._-]{1,64}") {
        let id = NodeId::new(name.clone()).unwrap();
        let encoded = of_node(&id);
        prop_assert_eq!(node(&encoded), Some(id));
        prop_assert_eq!(cluster(&of_cluster(&name)), Some(name));
        prop_assert!(encoded.len() <= 253);
        prop_assert!(encoded.split('.').all(|label| (1..=63).contains(&label.len())));
        prop_assert_eq!(cluster(&encoded), None, "a node is no cluster");
    }

    #[test]
    fn no_text_panics(text in ".{0,80}", digits in "[0-9a-fA-F.]{0,40}") {
        node(&text);
        node(&format!("{text}.node.headwater"));
        let name = format!("{digits}.node.headwater");
        if let Some(found) = node(&name) {
            prop_assert_eq!(of_node(&found), name, "one encoding only");
        }
    }
}

#[test]
fn other_names_are_refused() {
    for name in
        ["", "node.headwater", "6.node.headwater", "4A.node.headwater", "6.1.node.headwater"]
    {
        assert_eq!(node(name), None, "{name}");
    }
    assert_eq!(node("61.node.headwater"), NodeId::new("a").ok());
}
