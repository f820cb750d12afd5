//! The cluster port: membership, placement, leases and the transport between nodes.
