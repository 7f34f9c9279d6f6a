//! The topic of an event: chosen by patterns of event names, fixed or made of the parts of the name. Topics are numbered as they
//! occur, and their number is bounded.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use wildmatch::WildMatch;

use crate::{
    config::{EVENT_SUBTYPE_PLACEHOLDER, EVENT_TYPE_PLACEHOLDER, KafkaConfig, check_topic_name, has_placeholders},
    event::EventName,
    limits::KAFKA_TOPICS_MAX,
};

/// What stands for the subtype of an event name without one.
const NO_SUBTYPE: &str = "none";

/// See the module.
#[derive(Debug)]
pub struct Topics {
    /// Patterns of event names with their topics, in order.
    choices: Vec<(WildMatch, Choice)>,
    /// The topic of all other events.
    otherwise: Choice,
    seen: RwLock<Seen>,
}

#[derive(Debug)]
enum Choice {
    /// The number of a topic.
    Fixed(u32),
    /// A name with placeholders.
    Made(String),
}

/// The topics that occurred, numbered in this order.
#[derive(Debug, Default)]
struct Seen {
    numbers: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
}

impl Seen {
    fn number(&mut self, name: &str) -> Result<u32, String> {
        if let Some(number) = self.numbers.get(name) {
            return Ok(*number);
        }
        if self.names.len() >= KAFKA_TOPICS_MAX {
            return Err(format!("the topic {name:?} would be one more than the {KAFKA_TOPICS_MAX} that a gateway writes to"));
        }
        let (name, number): (Arc<str>, u32) = (name.into(), self.names.len() as u32);
        self.numbers.insert(name.clone(), number);
        self.names.push(name);
        Ok(number)
    }
}

impl Topics {
    /// The topics as configured. The configuration was checked.
    #[must_use]
    pub fn new(config: &KafkaConfig) -> Self {
        let mut seen = Seen::default();
        let mut choices = Vec::new();
        for rule in &config.topics {
            choices.push((WildMatch::new(&rule.events), Choice::new(&rule.topic, &mut seen)));
        }
        let otherwise = Choice::new(&config.topic, &mut seen);
        Self { choices, otherwise, seen: RwLock::new(seen) }
    }

    /// One topic for everything.
    #[must_use]
    pub fn one(name: &str) -> Self {
        let mut seen = Seen::default();
        let otherwise = Choice::new(name, &mut seen);
        Self { choices: Vec::new(), otherwise, seen: RwLock::new(seen) }
    }

    /// The number of the topic of an event.
    ///
    /// # Errors
    /// If the name made for it is no name of a topic, or there are too many topics.
    pub fn of_event(&self, name: &EventName<'_>) -> Result<u32, String> {
        let rule = self.choices.iter().find(|(events, _)| events.matches(name.as_str()));
        match rule.map_or(&self.otherwise, |(_, choice)| choice) {
            Choice::Fixed(number) => Ok(*number),
            Choice::Made(template) => {
                let (event_type, event_subtype) = name.type_and_subtype();
                let made = template.replace(EVENT_TYPE_PLACEHOLDER, event_type);
                let made = made.replace(EVENT_SUBTYPE_PLACEHOLDER, event_subtype.unwrap_or(NO_SUBTYPE));
                if let Some(number) = self.seen.read().unwrap_or_else(PoisonError::into_inner).numbers.get(&*made) {
                    return Ok(*number);
                }
                check_topic_name(&made)?;
                self.seen.write().unwrap_or_else(PoisonError::into_inner).number(&made)
            }
        }
    }

    /// The number of topics that occurred.
    #[must_use]
    pub fn count(&self) -> usize {
        self.seen.read().unwrap_or_else(PoisonError::into_inner).names.len()
    }

    /// The names of the topics that occurred, in the order of their numbers.
    #[must_use]
    pub fn names(&self) -> Vec<Arc<str>> {
        self.seen.read().unwrap_or_else(PoisonError::into_inner).names.clone()
    }
}

impl Choice {
    fn new(topic: &str, seen: &mut Seen) -> Self {
        if has_placeholders(topic) {
            return Self::Made(topic.to_owned());
        }
        // The configuration has no more topics than are allowed, so that each gets its number.
        seen.number(topic).map_or_else(|_| Self::Made(topic.to_owned()), Self::Fixed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KafkaTopic;

    fn topic(topics: &Topics, name: &str) -> Result<String, String> {
        topics.of_event(&EventName::parse(name).unwrap()).map(|number| topics.names()[number as usize].to_string())
    }

    #[test]
    fn the_first_pattern_decides_and_a_name_can_be_made_of_the_parts_of_the_event_name() {
        let rule = |events: &str, topic: &str| KafkaTopic { events: events.into(), topic: topic.into() };
        let rules = vec![rule("menu:item:*", "items"), rule("menu:*", "menu.{event_subtype}"), rule("audit:*", "items")];
        let topics = Topics::new(&KafkaConfig { topics: rules, topic: "events-{event_type}".into(), ..KafkaConfig::default() });
        for (event, expected) in [
            ("menu:item:viewed", "items"),
            ("menu:category:opened", "menu.category"),
            ("audit:login", "items"),
            ("payment:order:completed", "events-payment"),
            ("menu", "events-menu"),
        ] {
            assert_eq!(topic(&topics, event).as_deref(), Ok(expected), "{event}");
        }
        assert_eq!(topics.names().len(), 4, "a topic has one number");
        let topics = Topics::new(&KafkaConfig { topic: "t-{event_subtype}".into(), ..KafkaConfig::default() });
        assert_eq!(topic(&topics, "menu").as_deref(), Ok("t-none"));
    }

    #[test]
    fn one_topic_too_many_or_a_name_that_is_too_long_is_an_error_and_the_other_topics_go_on() {
        let topics = Topics::new(&KafkaConfig { topic: "{event_type}".into(), ..KafkaConfig::default() });
        for index in 0..KAFKA_TOPICS_MAX {
            assert_eq!(topic(&topics, &format!("t{index}")), Ok(format!("t{index}")));
        }
        assert!(topic(&topics, "one-more").unwrap_err().contains("\"one-more\" would be one more"));
        assert_eq!(topic(&topics, "t0:x").as_deref(), Ok("t0"));
        let prefix = "x".repeat(200);
        let topics = Topics::new(&KafkaConfig { topic: format!("{prefix}{{event_type}}"), ..KafkaConfig::default() });
        assert!(topic(&topics, &"y".repeat(100)).unwrap_err().contains("249"));
    }
}
