//! What a client may do.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// One thing that a client may be allowed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// Read the ledger and the board.
    Read,
    /// Speak on the board in this node's name: posts, plans, specs, playbooks.
    Post,
    /// Raise flags in this node's name.
    Flag,
    /// Have this machine measure a recipe, and put kernel bundles into the node's store.
    Measure,
    /// Make claims in this node's name, which costs the network seat time.
    Claim,
    /// Name folders and files of this machine; without it, only hashes and embedded models.
    Files,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Read, Self::Post, Self::Flag, Self::Measure, Self::Claim, Self::Files];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Post => "post",
            Self::Flag => "flag",
            Self::Measure => "measure",
            Self::Claim => "claim",
            Self::Files => "files",
        }
    }
}

impl FromStr for Permission {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|permission| permission.word() == text).ok_or_else(|| {
            let words: Vec<&str> = Self::ALL.iter().map(|permission| permission.word()).collect();
            format!("choose from {}", words.join(", "))
        })
    }
}

/// Who a client is and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The token's name; `stdio` for a client that started this program.
    pub name: String,
    /// What it may do.
    pub allow: BTreeSet<Permission>,
}

impl Grant {
    /// Whether the client may do something.
    #[must_use]
    pub fn allows(&self, permission: Permission) -> bool {
        self.allow.contains(&permission)
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.allow.iter().map(|permission| permission.word()).collect();
        f.write_str(&words.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_words() {
        for permission in Permission::ALL {
            assert_eq!(permission.word().parse(), Ok(permission));
            let json = serde_json::to_value(permission).unwrap();
            assert_eq!(json, permission.word());
        }
        assert!("Read".parse::<Permission>().unwrap_err().contains("read, post"));
        assert!("".parse::<Permission>().is_err());
    }
}
