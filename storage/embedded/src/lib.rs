//! The embedded engine: a durable store on the local disk of one node.
