//! Reads a TOML tree key by key and collects every mistake with its place.
//!
//! The keys that the code asks for are the keys that exist: what nobody asked for is an unknown key.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::values::Value;
use crate::config::errors::Mistake;

/// What was found out while reading, shared by all tables of a file.
#[derive(Debug, Default)]
pub(super) struct Notes {
    noted: RefCell<Vec<Noted>>,
    known: RefCell<BTreeSet<(String, &'static str)>>,
    unknown: RefCell<Vec<Unknown>>,
}

#[derive(Debug)]
struct Noted {
    mistake: Mistake,
    /// It may only follow from a line that could not be read at all.
    doubtful: bool,
}

#[derive(Debug)]
struct Unknown {
    table: String,
    key: String,
    span: Range<usize>,
}

impl Notes {
    pub(super) fn mistake(&self, span: Range<usize>, what: String, advice: String) {
        self.push(Mistake { what, advice, span: Some(span) }, false);
    }

    /// Something that should be there is not.
    pub(super) fn missing(&self, span: Option<Range<usize>>, what: String, advice: String) {
        self.push(Mistake { what, advice, span }, true);
    }

    fn push(&self, mistake: Mistake, doubtful: bool) {
        self.noted.borrow_mut().push(Noted { mistake, doubtful });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.noted.borrow().is_empty() && self.unknown.borrow().is_empty()
    }

    /// Every key that was asked for, as (table, key).
    #[cfg(test)]
    pub(super) fn known(&self) -> BTreeSet<(String, &'static str)> {
        self.known.borrow().clone()
    }

    /// All mistakes; with `broken` lines in the file, only those that cannot follow from them.
    pub(super) fn into_mistakes(self, broken: bool) -> Vec<Mistake> {
        let known = self.known.into_inner();
        let unknown = self.unknown.into_inner().into_iter().map(|unknown| unknown.explain(&known));
        let noted = self.noted.into_inner().into_iter();
        noted.filter(|noted| !(broken && noted.doubtful)).map(|noted| noted.mistake).chain(unknown).collect()
    }
}

impl Unknown {
    fn explain(self, known: &BTreeSet<(String, &'static str)>) -> Mistake {
        let here = known.iter().filter(|(table, _)| *table == self.table).map(|(_, key)| *key);
        let elsewhere = known.iter().find(|(_, key)| *key == self.key);
        let advice = match (nearest(&self.key, here.clone()), elsewhere) {
            // TOML has no way back out of a table: a top-level key below `[tls]` belongs to `tls`.
            (_, Some((table, key))) if table.is_empty() => {
                format!("`{key}` belongs to the top of the file, above the first [table]")
            }
            (_, Some((table, key))) => format!("`{key}` belongs to [{table}]"),
            (Some(near), None) => format!("did you mean `{near}`?"),
            (None, None) => format!("known here: {}", here.collect::<Vec<_>>().join(", ")),
        };
        Mistake { what: format!("unknown key `{}`", join(&self.table, &self.key)), advice, span: Some(self.span) }
    }
}

/// The candidate that was most likely meant.
pub(super) fn nearest<'a>(written: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(written, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The kind of value, for messages: "a string", "an integer".
pub(super) fn kind(value: &DeValue<'_>) -> String {
    let article = if matches!(value, DeValue::Integer(_) | DeValue::Array(_)) { "an" } else { "a" };
    format!("{article} {}", value.type_str())
}

fn join(table: &str, key: &str) -> String {
    if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }
}

/// A key's full path, and where to note what is wrong with its value.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) key: &'a str,
    notes: &'a Notes,
}

impl Place<'_> {
    /// Notes what is wrong with the value at `span`; gives `None` for the caller to return.
    pub(super) fn wrong<T>(&self, span: Range<usize>, what: &str, advice: &str) -> Option<T> {
        self.notes.mistake(span, format!("`{}`: {what}", self.key), advice.to_owned());
        None
    }
}

/// A table being read.
pub(super) struct Table<'a> {
    /// None where the file does not have the table: then every key is absent.
    entries: Option<&'a DeTable<'a>>,
    /// Its header; none for the file as a whole and for a table that is not there.
    span: Option<Range<usize>>,
    path: String,
    notes: &'a Notes,
    asked: Vec<&'static str>,
}

impl<'a> Table<'a> {
    /// Reads the file as a whole.
    pub(super) fn read_root<R>(root: &'a DeTable<'a>, notes: &'a Notes, read: impl FnOnce(&mut Self) -> R) -> R {
        Self::read(Some(root), None, String::new(), notes, read)
    }

    fn read<R>(
        entries: Option<&'a DeTable<'a>>,
        span: Option<Range<usize>>,
        path: String,
        notes: &'a Notes,
        read: impl FnOnce(&mut Self) -> R,
    ) -> R {
        let mut table = Self { entries, span, path, notes, asked: Vec::new() };
        let result = read(&mut table);
        table.finish();
        result
    }

    fn finish(self) {
        for (key, _) in self.entries.into_iter().flatten() {
            if !self.asked.contains(&&**key.get_ref()) {
                self.notes.unknown.borrow_mut().push(Unknown {
                    table: self.path.clone(),
                    key: key.get_ref().to_string(),
                    span: key.span(),
                });
            }
        }
        self.notes.known.borrow_mut().extend(self.asked.into_iter().map(|key| (self.path.clone(), key)));
    }

    fn take(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.push(key);
        self.entries?.get(key)
    }

    /// The value, if the key is there and right.
    pub(super) fn optional<T: Value>(&mut self, key: &'static str) -> Option<T> {
        let value = self.take(key)?;
        T::read(value, Place { key: &join(&self.path, key), notes: self.notes })
    }

    /// The value, or the default where the key is absent (or wrong, which is noted).
    pub(super) fn or<T: Value>(&mut self, key: &'static str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// The value; an absent key is noted with the advice.
    pub(super) fn required<T: Value>(&mut self, key: &'static str, advice: &str) -> Option<T> {
        if !self.has(key) {
            self.notes.missing(self.span.clone(), format!("`{}` is missing", join(&self.path, key)), advice.to_owned());
        }
        self.optional(key)
    }

    /// The table of that name; an absent one is read as empty, which gives all the defaults.
    pub(super) fn table<R>(&mut self, key: &'static str, read: impl FnOnce(&mut Table<'a>) -> R) -> R {
        let path = join(&self.path, key);
        let (entries, span) = match self.take(key).map(|value| (value.span(), value.get_ref())) {
            Some((span, DeValue::Table(table))) => (Some(table), Some(span)),
            Some((span, other)) => {
                let what = format!("`{path}`: expected a table, found {}", kind(other));
                self.notes.mistake(span, what, format!("write [{path}] on a line of its own and its keys below"));
                (None, None)
            }
            None => (None, self.span.clone()),
        };
        Table::read(entries, span, path, self.notes, read)
    }

    /// The `[[tables]]` of that name; none at all is noted with the advice.
    pub(super) fn tables<R>(
        &mut self,
        key: &'static str,
        advice: &str,
        mut read: impl FnMut(&mut Table<'a>) -> R,
    ) -> Vec<R> {
        let path = join(&self.path, key);
        let double = format!("write [[{path}]], with two brackets, on a line of its own and its keys below");
        let Some(value) = self.take(key) else {
            self.notes.missing(self.span.clone(), format!("there is no [[{path}]]"), advice.to_owned());
            return Vec::new();
        };
        let DeValue::Array(items) = value.get_ref() else {
            let what = format!("`{path}`: expected a list of tables, found {}", kind(value.get_ref()));
            self.notes.mistake(value.span(), what, double);
            return Vec::new();
        };
        if items.is_empty() {
            self.notes.mistake(value.span(), format!("`{path}`: the list is empty"), advice.to_owned());
        }
        let mut all = Vec::new();
        for item in items.iter() {
            let DeValue::Table(table) = item.get_ref() else {
                let what = format!("`{path}`: expected a table, found {}", kind(item.get_ref()));
                self.notes.mistake(item.span(), what, double.clone());
                continue;
            };
            all.push(Table::read(Some(table), Some(item.span()), path.clone(), self.notes, &mut read));
        }
        all
    }

    /// Whether the key is there, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.is_some_and(|entries| entries.contains_key(key))
    }

    /// Where the key's value stands, or, when it is absent, the table's header.
    pub(super) fn span_of(&self, key: &str) -> Option<Range<usize>> {
        let value = self.entries.and_then(|entries| entries.get(key)).map(Spanned::span);
        value.or_else(|| self.span.clone())
    }

    /// Notes that `key` breaks a rule that concerns several keys.
    pub(super) fn breaks_rule(&self, key: &str, what: &str, advice: &str) {
        self.notes.missing(self.span_of(key), format!("`{}`: {what}", join(&self.path, key)), advice.to_owned());
    }

    /// Notes a mistake somewhere else in the file that follows from several keys.
    pub(super) fn note(&self, span: Range<usize>, what: String, advice: &str) {
        self.notes.missing(Some(span), what, advice.to_owned());
    }
}
