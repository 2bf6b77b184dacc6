pub(super) fn file(_: &super::report::Report) -> String {
    String::new()
}
