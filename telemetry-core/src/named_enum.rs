//! Enums whose variants have fixed names in JSON, YAML and SQL.

/// An enum declared by [`named_enum!`].
pub(crate) trait NamedEnum: Copy + 'static {
    /// Every variant with its name, in order.
    const NAMES: &'static [(Self, &'static str)];
}

/// Declares an enum with a name for each variant. `Display`, `FromStr` and serde use these names.
macro_rules! named_enum {
    ($(#[$meta:meta])* $enum:ident { $($(#[$variant_meta:meta])* $variant:ident = $name:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $enum {
            $($(#[$variant_meta])* #[serde(rename = $name)] $variant),+
        }

        impl $enum {
            /// Every variant, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the name of the variant.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl $crate::named_enum::NamedEnum for $enum {
            const NAMES: &'static [(Self, &'static str)] = &[$((Self::$variant, $name)),+];
        }

        impl std::fmt::Display for $enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $enum {
            type Err = $crate::UnknownName;

            fn from_str(text: &str) -> Result<Self, $crate::UnknownName> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    _ => Err($crate::UnknownName { name: text.chars().take(64).collect(), known: &[$($name),+] }),
                }
            }
        }
    };
}
pub(crate) use named_enum;

/// A text that is not the name of any variant of an enum.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown value `{name}`: expected one of {}", known.join(", "))]
pub struct UnknownName {
    /// The text, cut at 64 characters.
    pub name: String,
    /// The names that exist.
    pub known: &'static [&'static str],
}
