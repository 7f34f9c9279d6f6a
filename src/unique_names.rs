//! Names of which none is there twice, whatever the case of their letters: columns and views, as SQL compares them.

use std::collections::HashSet;

/// Names used so far.
#[derive(Debug, Default)]
pub struct UniqueNames(HashSet<String>);

impl UniqueNames {
    /// None of `names` can be taken.
    pub fn reserving(names: &[&str]) -> Self {
        Self(names.iter().map(|name| name.to_lowercase()).collect())
    }

    /// `wanted`, with a number appended if that name is taken.
    pub fn take(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        let mut number = 2;
        while !self.0.insert(name.to_lowercase()) {
            name = format!("{wanted}_{number}");
            number += 1;
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_in_any_case_gets_a_number() {
        let mut names = UniqueNames::reserving(&["Source"]);
        assert_eq!(["source", "a", "A", "a", "a_2"].map(|name| names.take(name)), ["source_2", "a", "A_2", "a_3", "a_2_2"]);
    }
}
