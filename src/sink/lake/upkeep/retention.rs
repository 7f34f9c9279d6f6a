//! How long events are kept, by the pattern of their name.

use wildmatch::WildMatch;

use crate::event::Date;

/// Days for the events of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRetention {
    /// A pattern of event names, such as `menu:*`; `*` is any text, including colons.
    pub pattern: String,
    /// Days after the day of `created_date`.
    pub days: u32,
}

/// The retention of all events. Events that no pattern matches are kept for ever; of several patterns the longest decides, and
/// of equally long ones the one that keeps the event longer.
#[derive(Clone, Debug, Default)]
pub struct Retention {
    /// The pattern that decides comes first.
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    pattern: WildMatch,
    /// What every name begins with that the pattern matches.
    beginning: String,
    days: u32,
}

impl Rule {
    fn new(rule: &NameRetention) -> Self {
        let beginning = rule.pattern.split(['*', '?']).next().unwrap_or_default().to_owned();
        Self { pattern: WildMatch::new(&rule.pattern), beginning, days: rule.days }
    }

    /// Whether a name of this event type may match.
    fn may_match_type(&self, event_type: &str) -> bool {
        let of_type = format!("{event_type}:");
        of_type.starts_with(&self.beginning) || self.beginning.starts_with(&of_type)
    }
}

impl Retention {
    /// The retention with these rules, in any order.
    #[must_use]
    pub fn new(rules: &[NameRetention]) -> Self {
        let mut rules: Vec<_> = rules.iter().collect();
        rules.sort_by_key(|rule| std::cmp::Reverse((rule.pattern.len(), rule.days)));
        Self { rules: rules.into_iter().map(Rule::new).collect() }
    }

    /// Whether nothing ever expires.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The days for which events of this name are kept; `None`: for ever.
    pub(super) fn days_of(&self, event_name: &str) -> Option<u32> {
        self.rules.iter().find(|rule| rule.pattern.matches(event_name)).map(|rule| rule.days)
    }

    /// The first day on which an event of this name and `created_date` has expired. It has on every later day.
    pub(super) fn expires_on(&self, event_name: &str, created_date: Date) -> Option<Date> {
        let days = i32::try_from(self.days_of(event_name)?).ok()?;
        Some(Date { days: created_date.days.saturating_add(days).saturating_add(1) })
    }

    /// The first day on which any event of this type and `created_date` may have expired.
    pub(super) fn first_expiry(&self, event_type: &str, created_date: Date) -> Option<Date> {
        let rules = self.rules.iter().filter(|rule| rule.may_match_type(event_type));
        let days = i32::try_from(rules.map(|rule| rule.days).min()?).ok()?;
        Some(Date { days: created_date.days.saturating_add(days).saturating_add(1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pattern_decides_and_an_event_is_kept_for_so_many_whole_days() {
        let rule = |pattern: &str, days| NameRetention { pattern: pattern.into(), days };
        let retention = Retention::new(&[rule("*", 400), rule("menu:*", 30), rule("menu:item:*", 7), rule("*:item:*", 7)]);
        for (name, days) in [("menu:item:viewed", 7), ("menu:closed", 30), ("menu", 400), ("payment:order", 400)] {
            assert_eq!(retention.days_of(name), Some(days), "{name}");
        }
        let day = Date { days: 100 };
        assert_eq!(retention.expires_on("menu:item:viewed", day), Some(Date { days: 108 }));
        assert_eq!(retention.first_expiry("menu", day), Some(Date { days: 108 }));
        let tie = Retention::new(&[rule("menu:a*", 1), rule("menu:*b", 2)]);
        assert_eq!((tie.days_of("menu:ab"), tie.days_of("menu")), (Some(2), None));
        assert_eq!(Retention::default().first_expiry("menu", day), None);
        let some = Retention::new(&[rule("menu:item:*", 1), rule("pay*:x", 2), rule("cart", 3)]);
        let first = |event_type: &str| some.first_expiry(event_type, day).map(|date| date.days - 101);
        assert_eq!(
            [first("menu"), first("payment"), first("cart"), first("menus"), first("car")],
            [Some(1), Some(2), Some(3), None, None]
        );
    }
}
