//! Numbers below 0. No flag takes one, and the parser would take `-1` for an unknown flag, or say
//! that a digit is invalid.

/// Of the arguments: the first flag that is given a number below 0, and that number.
pub(crate) fn find(args: &[String]) -> Option<(&str, &str)> {
    let flags = args.iter().take_while(|arg| *arg != "--");
    let next = args.iter().skip(1).map(Some).chain([None]);
    flags.zip(next).find_map(|(flag, next)| {
        let (flag, value) = match flag.split_once('=') {
            Some(joined) => joined,
            None => (flag.as_str(), next?.as_str()),
        };
        let digits = value.strip_prefix('-')?.trim_start_matches('.');
        let is_found = flag.starts_with("--") && digits.starts_with(|c: char| c.is_ascii_digit());
        is_found.then_some((flag, value))
    })
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn a_flag_and_its_number() {
        let of = |line: &str| {
            let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
            find(&args).map(|(flag, value)| format!("{flag} {value}"))
        };
        assert_eq!(of("plan --a 1 --weights -5GiB --b").as_deref(), Some("--weights -5GiB"));
        assert_eq!(of("plan --scale=-.5").as_deref(), Some("--scale -.5"));
        for line in
            ["plan --a 1", "plan -1", "plan --a -h", "plan --a --1", "--", "--a", "-- --a -1"]
        {
            assert_eq!(of(line), None, "{line}");
        }
    }
}
