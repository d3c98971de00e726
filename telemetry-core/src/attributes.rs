//! Attributes: keys with values, in the order in which they were given.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Text, Value};

/// One key with its value.
pub type Attribute = (Text, Value);

/// Keys with values, in the order in which they were given.
///
/// A key can stand twice only where code builds attributes by hand; no wire format produces that.
/// Attributes built in one step are one allocation of exactly their size.
///
/// ```
/// use telemetry_core::{Attributes, Value, attrs};
///
/// let attributes = attrs! { "model_id" => "llama", "tokens" => 42, "cached" => false };
/// assert_eq!(attributes.get("tokens"), Some(&Value::Int(42)));
/// assert_eq!(attributes.len(), 3);
/// assert_eq!(Attributes::default().len(), 0);
/// ```
#[derive(Clone, PartialEq, Default)]
pub struct Attributes(Box<[Attribute]>);

/// Builds [`Attributes`] from `key => value` pairs of mixed types, in one allocation.
#[macro_export]
macro_rules! attrs {
    () => { $crate::Attributes::default() };
    ($($key:expr => $value:expr),+ $(,)?) => {
        $crate::Attributes::from(::std::vec![$(($crate::Text::from($key), $crate::Value::from($value))),+])
    };
}

/// From this many keys on, a hash map finds a key faster than comparing one key after the other.
const HASH_FROM: usize = 32;

impl Attributes {
    /// Returns the value of `key`: the first one if the key stands twice.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Returns the values of many keys in their order, `None` for each missing key.
    pub(crate) fn get_all<'a>(&'a self, keys: &'a [String]) -> Vec<Option<&'a Value>> {
        if keys.len() < HASH_FROM {
            return keys.iter().map(|key| self.get(key)).collect();
        }
        let mut values = HashMap::with_capacity(self.len());
        for (key, value) in self {
            values.entry(&**key).or_insert(value);
        }
        keys.iter().map(|key| values.get(key.as_str()).copied()).collect()
    }

    /// Returns the attributes whose key is one of `keys`, in their order.
    pub(crate) fn only(&self, keys: &[String]) -> Self {
        if keys.len() < HASH_FROM {
            return self.iter().filter(|(name, _)| keys.iter().any(|key| key == name)).cloned().collect();
        }
        let keys: HashSet<&str> = keys.iter().map(String::as_str).collect();
        self.iter().filter(|(name, _)| keys.contains(&**name)).cloned().collect()
    }

    /// Returns the number of attributes.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if there are no attributes.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over the attributes in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, Attribute> {
        self.0.iter()
    }

    /// Adds the attributes of `later`. A key of both keeps its place and takes the later value.
    ///
    /// ```
    /// use telemetry_core::attrs;
    ///
    /// let mut attributes = attrs! { "a" => 1, "b" => 2 };
    /// attributes.merge(attrs! { "c" => 3, "a" => 4 });
    /// assert_eq!(attributes, attrs! { "a" => 4, "b" => 2, "c" => 3 });
    /// ```
    pub fn merge(&mut self, later: Self) {
        if later.is_empty() {
            return;
        }
        if self.is_empty() {
            *self = later;
            return;
        }
        if later.len() < HASH_FROM { self.merge_few(later) } else { self.merge_many(later) }
    }

    /// Merges by comparing keys: time grows with the product of both sizes.
    fn merge_few(&mut self, later: Self) {
        let mut merged = std::mem::take(&mut self.0).into_vec();
        for (key, value) in later.0 {
            match merged.iter_mut().find(|(name, _)| *name == key) {
                Some((_, earlier)) => *earlier = value,
                None => merged.push((key, value)),
            }
        }
        self.0 = merged.into_boxed_slice();
    }

    /// Merges with a hash map of the keys: time grows with the sum of both sizes.
    fn merge_many(&mut self, later: Self) {
        let mut places = HashMap::with_capacity(self.len() + later.len());
        for (place, (key, _)) in self.iter().enumerate() {
            places.entry(&**key).or_insert(place);
        }
        let mut len = self.len();
        let mut place_of = |key| {
            *places.entry(key).or_insert_with(|| {
                len += 1;
                len - 1
            })
        };
        let targets: Vec<usize> = later.iter().map(|(key, _)| place_of(&**key)).collect();
        let mut merged = std::mem::take(&mut self.0).into_vec();
        merged.reserve_exact(len - merged.len());
        for (attribute, target) in later.into_iter().zip(targets) {
            match merged.get_mut(target) {
                Some((_, earlier)) => *earlier = attribute.1,
                None => merged.push(attribute),
            }
        }
        self.0 = merged.into_boxed_slice();
    }

    /// Removes `key` and returns its value.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.0.iter().position(|(name, _)| name == key)?;
        let mut rest = std::mem::take(&mut self.0).into_vec();
        let (_, value) = rest.remove(at);
        self.0 = rest.into_boxed_slice();
        Some(value)
    }

    /// Keeps the first `max` attributes and returns how many were cut.
    pub fn truncate(&mut self, max: usize) -> usize {
        let cut = self.0.len().saturating_sub(max);
        if cut > 0 {
            let mut rest = std::mem::take(&mut self.0).into_vec();
            rest.truncate(max);
            self.0 = rest.into_boxed_slice();
        }
        cut
    }

    /// Returns the bytes of all texts, plus a fixed size per attribute.
    pub fn payload_bytes(&self) -> usize {
        self.0.iter().map(|(key, value)| size_of::<Attribute>() + key.len() + value.text_bytes()).sum()
    }

    /// Returns the attributes as compact JSON text, in their order.
    ///
    /// ```
    /// use telemetry_core::attrs;
    /// assert_eq!(attrs! { "n" => 7, "f" => 7.0 }.to_json(), r#"{"n":7,"f":7.0}"#);
    /// ```
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("keys are text and values are scalars")
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(key, value)| (key, value))).finish()
    }
}

impl<const N: usize> From<[Attribute; N]> for Attributes {
    fn from(attributes: [Attribute; N]) -> Self {
        Self(Box::new(attributes))
    }
}

impl From<Vec<Attribute>> for Attributes {
    fn from(attributes: Vec<Attribute>) -> Self {
        Self(attributes.into_boxed_slice())
    }
}

impl FromIterator<Attribute> for Attributes {
    fn from_iter<I: IntoIterator<Item = Attribute>>(attributes: I) -> Self {
        Self(attributes.into_iter().collect())
    }
}

impl IntoIterator for Attributes {
    type Item = Attribute;
    type IntoIter = std::vec::IntoIter<Attribute>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_vec().into_iter()
    }
}

impl<'a> IntoIterator for &'a Attributes {
    type Item = &'a Attribute;
    type IntoIter = std::slice::Iter<'a, Attribute>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (key, value) in self {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AttributesVisitor;

        impl<'de> Visitor<'de> for AttributesVisitor {
            type Value = Attributes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of scalar values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attributes, A::Error> {
                let mut attributes = Vec::with_capacity(map.size_hint().unwrap_or(0).min(64));
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    attributes.push((Text::Owned(key), value));
                }
                Ok(attributes.into())
            }
        }

        deserializer.deserialize_map(AttributesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_later_attributes_win_in_place() {
        let mut attributes = attrs! { "a" => 1, "b" => 2 };
        attributes.merge(attrs! { "b" => "two", "c" => 3.0 });
        assert_eq!(attributes.to_json(), r#"{"a":1,"b":"two","c":3.0}"#);
        assert_eq!(attributes.remove("a"), Some(Value::Int(1)));
        assert_eq!(attributes.truncate(1), 1);
    }

    /// `count` attributes with the keys `first`, `first + 1`, …
    fn numbered(first: usize, count: usize) -> Attributes {
        (first..first + count).map(|n| (Text::Owned(format!("key {n}")), Value::from(first))).collect()
    }

    #[test]
    fn merging_many_attributes_takes_linear_time() {
        let start = std::time::Instant::now();
        let mut merged = numbered(0, 100_000);
        merged.merge(numbered(50_000, 100_000));
        assert_eq!(merged.len(), 150_000);
        assert_eq!(merged.iter().filter(|(_, value)| *value == Value::Int(0)).count(), 50_000);
        // Milliseconds if linear, minutes if quadratic.
        assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
    }

    #[test]
    fn many_keys_are_found_like_single_keys() {
        let attributes = attrs! { "a" => 1, "b" => 2, "a" => 3 };
        let keys: Vec<String> = ["a", "c", "b"].iter().cycle().take(100).map(|key| (*key).into()).collect();
        let one_by_one: Vec<_> = keys.iter().map(|key| attributes.get(key)).collect();
        assert_eq!(attributes.get_all(&keys), one_by_one);
        assert_eq!(attributes.only(&keys), attributes.only(&keys[..3]));
    }

    fn attributes(max: usize) -> impl Strategy<Value = Attributes> {
        let attribute = (0..40_u8, any::<i64>())
            .prop_map(|(key, value)| (Text::Owned(key.to_string()), Value::Int(value)));
        prop::collection::vec(attribute, 0..max).prop_map(Attributes::from)
    }

    proptest! {
        #[test]
        fn both_ways_to_merge_agree(earlier in attributes(60), later in attributes(60)) {
            let (mut few, mut many, mut chosen) = (earlier.clone(), earlier.clone(), earlier);
            few.merge_few(later.clone());
            many.merge_many(later.clone());
            chosen.merge(later);
            prop_assert_eq!(&few, &many);
            // If `earlier` is empty, `merge` keeps the duplicates of `later`.
            prop_assert!(few == chosen || chosen.len() > few.len());
        }
    }

    #[test]
    fn json_keeps_types_and_order() {
        let json = r#"{"z":1,"a":1.0,"n":null,"s":"x","b":false}"#;
        let attributes: Attributes = serde_json::from_str(json).unwrap();
        assert_eq!(attributes.to_json(), json);
    }

    #[test]
    fn an_attribute_takes_48_bytes() {
        assert_eq!(size_of::<Attribute>(), 48);
        assert_eq!(size_of::<Attributes>(), 16);
    }
}
