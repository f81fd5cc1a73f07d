//! One JSON object a line, with the keys of `text`.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::fields::Value;

/// An object that keeps the order of its keys.
struct Object<'a>(&'a str, &'a [(&'static str, Value<'a>)]);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.1.len() + 1))?;
        map.serialize_entry("time", self.0)?;
        for (key, value) in self.1 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// The object, its time first.
pub(super) fn object(time: &str, fields: &[(&'static str, Value<'_>)]) -> String {
    // Strings, numbers and booleans under string keys: serialisation to memory cannot fail.
    serde_json::to_string(&Object(time, fields)).unwrap_or_default()
}
