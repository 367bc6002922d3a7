//! Solicitation to go on where nobody can read along: links, handles and invitations to private
//! channels, in several languages and through the usual disguises.
//!
//! A pure function of a post's words, the same on every node, so that nobody has to be believed for
//! the mark that a post gets. It is a mark and no verdict: people see it beside the post, a node raises a
//! flag on it by itself, and a drawn committee rules (see [`crate::rulings`]). What it finds and misses in a labelled set is in
//! `testnet/bench/OFF_CHANNEL.md`.

use crate::text::commands;

/// Most characters of a text that are looked at; a post has no more.
const CHARS_MAX: usize = 16_000;

/// Beginnings of addresses that lead to a private channel.
const LINKS: [&str; 18] = [
    "t.me/",
    "telegram.me/",
    "discord.gg/",
    "discord.com/invite",
    "wa.me/",
    "chat.whatsapp.com",
    "signal.group",
    "signal.me/",
    "matrix.to/",
    "join.skype.com",
    "join.slack.com",
    "zoom.us/j",
    "meet.google.com",
    "keybase.io/team",
    "u.wechat.com",
    "qm.qq.com",
    "open.kakao.com",
    "threema.id/",
];

/// Beginnings of words that name a channel and mean little else.
const CHANNELS: [&str; 27] = [
    "telegram",
    "tlgrm",
    "discord",
    "whatsapp",
    "wechat",
    "weixin",
    "keybase",
    "threema",
    "viber",
    "skype",
    "snapchat",
    "kakaotalk",
    "instagram",
    "zap",
    "телег",
    "дискорд",
    "вотсап",
    "ватсап",
    "whats app",
    "личку",
    "личке",
    "личные",
    "टेलीग्राम",
    "व्हाट्सएप",
    "تيليجرام",
    "تلغرام",
    "واتساب",
];

/// The same in writing without spaces, found anywhere.
const CHANNELS_INSIDE: [&str; 13] = [
    "微信",
    "qq群",
    "加群",
    "qq 1",
    "私信",
    "テレグラム",
    "ディスコード",
    "lineで",
    "dmください",
    "카카오톡",
    "디스코드",
    "텔레그램",
    "تيليجرام",
];

/// Names of channels that are words of this field as well: they count where somebody is to be reached
/// on them.
const PLACES: [&str; 10] =
    ["signal", "slack", "matrix", "session", "wire", "element", "irc", "email", "mail", "dm"];

/// Words before such a name that make it a place.
const BEFORE_PLACE: [&str; 13] =
    ["on", "via", "per", "sur", "por", "auf", "over", "my", "our", "an", "us", "the", "me"];

/// Beginnings of words that invite or ask to be reached.
const INVITES: [&str; 45] = [
    "join",
    "add",
    "dm",
    "pm",
    "ping",
    "messag",
    "contact",
    "reach",
    "text",
    "write",
    "find",
    "come",
    "invit",
    "ask",
    "talk",
    "move",
    "discuss",
    "handle",
    "meet",
    "пиши",
    "напиши",
    "вступай",
    "перейд",
    "обсуд",
    "únete",
    "escríb",
    "habla",
    "mándame",
    "rejoin",
    "écri",
    "contacte",
    "continu",
    "schreib",
    "komm",
    "tret",
    "melde",
    "entra",
    "chama",
    "manda",
    "scrivi",
    "dołącz",
    "katıl",
    "انضم",
    "जुड़",
    "link",
];

/// Words that ask for privacy.
const PRIVATE: [&str; 20] = [
    "private",
    "privately",
    "privado",
    "privé",
    "privat",
    "private",
    "closed",
    "secret",
    "offline",
    "board",
    "only",
    "закрытый",
    "закрытая",
    "закрытую",
    "privato",
    "geheimen",
    "nobody",
    "team",
    "prywatny",
    "privata",
];

/// People who reach or are reached.
const SOMEBODY: [&str; 32] = [
    "me",
    "us",
    "our",
    "my",
    "lets",
    "i",
    "we",
    "мне",
    "меня",
    "наш",
    "наша",
    "нас",
    "я",
    "nuestro",
    "te",
    "moi",
    "notre",
    "on",
    "mir",
    "unsere",
    "unserer",
    "nosso",
    "naszej",
    "mi",
    "группа",
    "grupo",
    "groupe",
    "gruppe",
    "group",
    "server",
    "channel",
    "here",
];

/// Words that refuse an invitation, or report one.
const AGAINST: [&str; 22] = [
    "refused",
    "refuse",
    "not",
    "never",
    "rule",
    "rules",
    "flag",
    "flagged",
    "breaks",
    "forbidden",
    "asked",
    "asks",
    "whoever",
    "incident",
    "belong",
    "reported",
    "не",
    "kein",
    "nicht",
    "pas",
    "aquí",
    "ici",
];

/// What in a text asks to go elsewhere, in a few words; none where nothing does.
#[must_use]
pub fn solicits(text: &str) -> Option<String> {
    let plain = fold(text);
    let squeezed: String = plain.chars().filter(|c| !c.is_whitespace()).collect();
    let linked = |link: &&&str| begins_address(&plain, link) || begins_address(&squeezed, link);
    if let Some(link) = LINKS.iter().find(linked) {
        return Some(format!("a link to {}", link.trim_end_matches('/')));
    }
    plain.split(['\n', '!', '?', ';']).flat_map(|part| part.split(". ")).find_map(sentence)
}

/// Whether an address begins with `link` where no word runs into it.
fn begins_address(text: &str, link: &str) -> bool {
    text.match_indices(link).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|c| c.is_ascii_alphanumeric() && !text.contains("//"))
    })
}

fn sentence(text: &str) -> Option<String> {
    let words: Vec<&str> =
        text.split(|c: char| !c.is_alphanumeric() && !marks(c)).filter(|w| !w.is_empty()).collect();
    let is = |list: &[&str]| words.iter().any(|word| list.contains(word));
    let begins = |list: &[&'static str]| {
        let found = |word: &&str| list.iter().find(|name| word.starts_with(**name)).copied();
        words.iter().find_map(found)
    };
    if is(&AGAINST) {
        return None;
    }
    if let Some(name) = CHANNELS_INSIDE.iter().find(|name| text.contains(**name)) {
        return Some(format!("an invitation to {name}"));
    }
    let invites = begins(&INVITES).is_some();
    if let Some(name) = begins(&CHANNELS).filter(|_| invites || is(&SOMEBODY)) {
        return Some(format!("an invitation to {name}"));
    }
    let place = words.windows(2).find_map(|pair| match pair {
        [before, name] if BEFORE_PLACE.contains(before) => {
            PLACES.iter().find(|place| *place == name).copied()
        }
        _ => None,
    });
    let personal = ["me", "us", "my", "our", "i", "mir", "moi"];
    if let Some(name) = place.filter(|_| invites && is(&personal)) {
        return Some(format!("an invitation to {name}"));
    }
    if (has_mail_address(text) || has_phone_number(text)) && is(&personal) {
        return Some("an address or number to write to".to_owned());
    }
    (is(&PRIVATE) && invites && is(&personal)).then(|| "an invitation to a private talk".to_owned())
}

/// Marks of scripts that write vowels above and below letters.
fn marks(c: char) -> bool {
    matches!(c, '\u{900}'..='\u{97f}' | '\u{300}'..='\u{36f}')
}

fn has_mail_address(text: &str) -> bool {
    text.split_whitespace().any(|word| {
        let Some((name, host)) = word.split_once('@') else { return false };
        let ending = host.trim_end_matches([',', ';', ')']).rsplit_once('.').map(|(_, end)| end);
        let letters = |end: &str| end.len() >= 2 && end.bytes().all(|b| b.is_ascii_alphabetic());
        !name.is_empty() && ending.is_some_and(letters)
    })
}

fn has_phone_number(text: &str) -> bool {
    text.split('+').skip(1).any(|rest| {
        let number = rest.chars().take_while(|c| c.is_ascii_digit() || *c == ' ' || *c == '-');
        number.filter(char::is_ascii_digit).count() >= 9
    })
}

/// A text in lower case without its disguises: letters of other alphabets that look Latin, digits
/// that stand for letters, letters set apart, and spelt-out dots.
fn fold(text: &str) -> String {
    let latin: String = text
        .chars()
        .take(CHARS_MAX)
        .filter(|c| !commands(*c) || c.is_whitespace())
        .map(plain_letter)
        .flat_map(char::to_lowercase)
        .collect();
    let dotted = [" (dot) ", "[.]", "(.)", "{.}", "[dot]", "(dot)", " dot "]
        .iter()
        .fold(latin, |text, dot| text.replace(dot, "."))
        .replace(" slash ", "/")
        .replace(" (at) ", "@")
        .replace("d.m.", "dm")
        .replace('\'', "");
    let words: Vec<String> = dotted.split(' ').map(unmask).collect();
    join_apart(&words)
}

/// Wide and mathematical letters as plain ones.
fn plain_letter(c: char) -> char {
    let code = u32::from(c);
    let letter = |offset: u32| char::from_u32(u32::from('a') + offset).unwrap_or(c);
    match code {
        0xff01..=0xff5e => char::from_u32(code - 0xfee0).unwrap_or(c),
        // Thirteen styles of 52 letters each.
        0x1d400..=0x1d6a3 => letter((code - 0x1d400) % 26),
        _ => c,
    }
}

/// A word with what was put in place of Latin letters put right, where Latin letters are in it.
fn unmask(word: &str) -> String {
    if !word.chars().any(|c| c.is_ascii_alphabetic()) || word.contains(['/', '@', '.']) {
        return word.to_owned();
    }
    let looks = |c: char| match c {
        'а' | '4' => 'a',
        'е' | 'ё' | '3' => 'e',
        'о' | '0' | 'ο' => 'o',
        'і' | 'ι' | '1' => 'i',
        'с' => 'c',
        'т' => 't',
        'р' => 'p',
        'ѕ' | '5' | '$' => 's',
        'к' => 'k',
        'м' => 'm',
        '7' => 't',
        c => c,
    };
    let letters: String = word.chars().map(looks).collect();
    // A one is an i or an l.
    letters.replace("teiegram", "telegram")
}

/// Letters that stand alone, at least four in a row, as a word.
fn join_apart(words: &[String]) -> String {
    let mut out = String::new();
    let mut letters = String::new();
    let flush = |letters: &mut String, out: &mut String| {
        let apart = letters.chars().count() < 4;
        for c in letters.chars() {
            if apart && !out.is_empty() {
                out.push(' ');
            }
            out.push(c);
        }
        letters.clear();
    };
    for word in words {
        let mut chars = word.chars();
        match (chars.next(), chars.next()) {
            (Some(c), None) if c.is_alphabetic() => {
                if letters.is_empty() && !out.is_empty() {
                    out.push(' ');
                }
                letters.push(c);
            }
            // The comma or full stop behind the last letter of a word set apart.
            (Some(c), Some(mark))
                if c.is_alphabetic() && !mark.is_alphanumeric() && !letters.is_empty() =>
            {
                letters.push(c);
                flush(&mut letters, &mut out);
                out.extend(word.chars().skip(1));
            }
            _ => {
                flush(&mut letters, &mut out);
                if !out.is_empty() {
                    out.push(' ');
                }
                out.push_str(word);
            }
        }
    }
    flush(&mut letters, &mut out);
    out
}
