//! What the tests of all formats need.

use super::{Request, Source};

/// All requests of `source`, or the message of the first error.
pub(super) fn read_all<S: Source>(mut source: S) -> Result<Vec<Request>, String> {
    let mut requests = Vec::new();
    let mut request = Request::default();
    while source.read_next(&mut request).map_err(|error| error.to_string())? {
        let blocks = request.input_tokens.div_ceil(source.block_size()) as usize;
        assert_eq!(request.blocks.len(), blocks);
        requests.push(request.clone());
    }
    Ok(requests)
}
