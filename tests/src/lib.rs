//! System tests over real processes, and the tests of layering and tidiness.
