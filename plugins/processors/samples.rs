//! For the tests of every processor: its sample is its configuration.

use std::fmt::Debug;

use sentinel_contract::Plugin;

/// The configuration that a sample gives.
pub(crate) fn config<P: Plugin>(sample: &str) -> P::Config {
    let document: toml::Table = sample.parse().unwrap();
    let table = document["processors"][P::NAME][0].clone();
    table.try_into().unwrap()
}

/// The sample parses; what is commented is the default; no option is left out.
pub(crate) fn check<P: Plugin>()
where
    P::Config: PartialEq + Debug,
{
    let uncomment = |line: &str| match line.strip_prefix("# ") {
        Some(option) => format!("{option}\n"),
        None => format!("{line}\n"),
    };
    let uncommented: String = P::SAMPLE.lines().map(uncomment).collect();
    assert_eq!(config::<P>(P::SAMPLE), config::<P>(&uncommented));
    let unknown: toml::Table = "no_such_option = 1".parse().unwrap();
    let error = match unknown.try_into::<P::Config>() {
        Ok(config) => panic!("an unknown option was taken: {config:?}"),
        Err(error) => error.to_string(),
    };
    let options: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
    assert!(!options.is_empty(), "{error}");
    for option in options {
        let is_there = uncommented.lines().any(|line| line.starts_with(&format!("{option} = ")));
        assert!(is_there, "{option} is not in the sample");
    }
    let readme = P::NAME;
    assert!(P::SAMPLE.starts_with(&format!("[[processors.{readme}]]\n")));
}
