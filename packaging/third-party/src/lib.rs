//! Nothing: the plugins are built as dependencies.
