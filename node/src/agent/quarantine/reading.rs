//! What may be known of a stranger's text: words from fixed lists, and one digit.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Most levers that a reading names.
pub const LEVERS_MAX: usize = 4;
/// Largest relevance.
pub const RELEVANCE_MAX: u8 = 9;

/// Declares an enumeration whose members are words.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $member:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $member,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$member,)*];

            /// The member as JSON spells it.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$member => $word,)*
                }
            }

            /// The member that is spelt so.
            #[must_use]
            pub fn of(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|member| member.word() == word)
            }
        }
    };
}

words! {
    /// What a text is about.
    Topic {
        /// How fast something decodes.
        Speed = "speed",
        /// How good its tokens are.
        Quality = "quality",
        /// Kernels and their constants.
        Kernels = "kernels",
        /// Weights in fewer bits.
        Quantisation = "quantisation",
        /// Drafters and speculative decoding.
        Drafting = "drafting",
        /// A checkpoint that does not work.
        Checkpoints = "checkpoints",
        /// How claims are measured and judged.
        Measuring = "measuring",
        /// The network's rules and members.
        Rules = "rules",
        /// Anything else.
        Other = "other",
    }
}

words! {
    /// What the writer does.
    Stance {
        /// Tells of something that helped.
        ReportsGain = "reports-gain",
        /// Tells of something that did not help, or broke.
        ReportsFailure = "reports-failure",
        /// Wants something tried.
        Proposes = "proposes",
        /// Says what the writer will do.
        Announces = "announces",
        /// Wants to know something.
        Asks = "asks",
        /// Explains.
        Explains = "explains",
        /// Demands something of whoever reads it.
        Demands = "demands",
        /// Anything else.
        Other = "other",
    }
}

words! {
    /// What can be turned to make decoding faster.
    Lever {
        /// Weights in four bits.
        Int4 = "int4",
        /// Weights in eight bits.
        Int8 = "int8",
        /// Weights that share one scale.
        GroupSize = "group-size",
        /// The output head, stored apart or in fewer bits.
        Head = "head",
        /// A drafter.
        Drafter = "drafter",
        /// Tokens drafted per step.
        DraftLength = "draft-length",
        /// Invocations per workgroup.
        WorkgroupSize = "workgroup-size",
        /// Rows that one invocation computes.
        RowsPerInvocation = "rows-per-invocation",
        /// Several operations in one kernel.
        Fusion = "fusion",
        /// Attention and its cache.
        Attention = "attention",
        /// The embedding tables.
        Embedding = "embedding",
    }
}

/// What a reader found in a text. It is all that anybody downstream ever learns of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Answer")]
pub struct Reading {
    /// What it is about.
    pub topic: Topic,
    /// What its writer does.
    pub stance: Stance,
    /// The levers that it names, at most [`LEVERS_MAX`].
    pub levers: BTreeSet<Lever>,
    /// How much it helps to make decoding faster, 0 to [`RELEVANCE_MAX`].
    pub relevance: u8,
}

/// A reader's answer before its bounds are checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    topic: Topic,
    stance: Stance,
    levers: Vec<Lever>,
    relevance: u8,
}

impl TryFrom<Answer> for Reading {
    type Error = String;

    fn try_from(answer: Answer) -> Result<Self, String> {
        let Answer { topic, stance, levers, relevance } = answer;
        if levers.len() > LEVERS_MAX {
            return Err(format!("{} levers, at most {LEVERS_MAX}", levers.len()));
        }
        if relevance > RELEVANCE_MAX {
            return Err(format!("relevance {relevance}, at most {RELEVANCE_MAX}"));
        }
        Ok(Self { topic, stance, levers: levers.into_iter().collect(), relevance })
    }
}

impl Reading {
    /// It in one line, in this program's own words.
    #[must_use]
    pub fn text(&self) -> String {
        let levers: Vec<&str> = self.levers.iter().map(|lever| lever.word()).collect();
        let levers = if levers.is_empty() { "none".to_owned() } else { levers.join(", ") };
        let (topic, stance) = (self.topic.word(), self.stance.word());
        format!("about {topic} {stance} (levers: {levers}; relevance {})", self.relevance)
    }

    /// The schema that a reader's answer is constrained to.
    #[must_use]
    pub fn schema() -> Value {
        let topics: Vec<&str> = Topic::ALL.iter().map(|topic| topic.word()).collect();
        let stances: Vec<&str> = Stance::ALL.iter().map(|stance| stance.word()).collect();
        let levers: Vec<&str> = Lever::ALL.iter().map(|lever| lever.word()).collect();
        json!({
            "type": "object",
            "properties": {
                "topic": {"enum": topics},
                "stance": {"enum": stances},
                "levers": {"type": "array", "items": {"enum": levers}, "maxItems": LEVERS_MAX},
                "relevance": {"type": "integer", "minimum": 0, "maximum": RELEVANCE_MAX},
            },
            "required": ["topic", "stance", "levers", "relevance"],
            "additionalProperties": false,
        })
    }
}
