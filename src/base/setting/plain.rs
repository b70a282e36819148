//! Tables whose settings depend on nothing but themselves: declared together with the struct that holds their values.

use std::time::Duration;

use super::{Setting, Value, Word};

/// Settings whose rows and values are declared together, by [`plain_settings`].
pub trait Plain: Sized {
    /// The rows, one for each field.
    const SETTINGS: &'static [Setting];

    /// The struct, of what `value` gives for each row: the value written, or the default; `None`: neither.
    fn from_values(value: impl FnMut(&'static Setting) -> Option<Value>) -> Self;

    /// The value of each row.
    fn values(&self) -> Vec<(&'static Setting, Option<Value>)>;

    /// The struct with other values for the settings of these names.
    fn changed_by(&self, changes: &[(&'static str, Value)]) -> Self {
        let own = self.values();
        Self::from_values(|row| {
            let change = changes.iter().find(|(name, _)| *name == row.name);
            let known = || own.iter().find(|(known, _)| known.name == row.name);
            change.map_or_else(|| known()?.1, |(_, value)| Some(*value))
        })
    }
}

/// A type in which a struct of [`plain_settings`] holds a value.
pub trait Stored: Sized {
    /// The field of a value. `None` is for a setting without a default that is absent.
    fn from_value(value: Option<Value>) -> Self;

    /// The value of a field.
    fn to_value(&self) -> Option<Value>;
}

/// Declares a struct with a public field for each setting, and the rows of [`Plain`]. The documentation of a field is
/// that of its setting. `also` names the second key of a setting, which has a unit; `zero` says what 0 means.
///
/// ```text
/// plain_settings! {
///     /// When a backend is ejected.
///     pub struct Outlier {
///         /// Time of a first ejection.
///         eject also "eject_secs": Duration = Kind::TIME, Absent::secs(30);
///     }
/// }
/// ```
macro_rules! plain_settings {
    (
        $(#[doc = $about:literal])+
        pub struct $type:ident { $(
            $(#[doc = $doc:literal])+
            $field:ident $(also $alias:literal)? $(zero $zero:literal)?: $of:ty = $kind:expr, $absent:expr;
        )+ }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $type {
            $( $(#[doc = $doc])+ pub $field: $of, )+
        }

        impl $crate::base::setting::Plain for $type {
            const SETTINGS: &'static [$crate::base::setting::Setting] = &[ $(
                $crate::base::setting::Setting::new(
                    stringify!($field),
                    $kind,
                    $absent,
                    concat!($($doc),+),
                ) $( .also($alias) )? $( .zero_means($zero) )?
            ),+ ];

            fn from_values(
                mut value: impl FnMut(
                    &'static $crate::base::setting::Setting,
                ) -> Option<$crate::base::setting::Value>,
            ) -> Self {
                // Fields are evaluated in their order, which is that of the rows.
                let mut rows = Self::SETTINGS.iter();
                let mut next = || rows.next().and_then(&mut value);
                $type { $( $field: $crate::base::setting::Stored::from_value(next()), )+ }
            }

            fn values(
                &self,
            ) -> Vec<(
                &'static $crate::base::setting::Setting,
                Option<$crate::base::setting::Value>,
            )> {
                let values = [ $( $crate::base::setting::Stored::to_value(&self.$field) ),+ ];
                Self::SETTINGS.iter().zip(values).collect()
            }
        }

        /// Every setting at its default.
        impl Default for $type {
            fn default() -> Self {
                $crate::base::setting::Plain::from_values($crate::base::setting::Setting::default_value)
            }
        }
    };
}

pub(crate) use plain_settings;

impl Stored for bool {
    fn from_value(value: Option<Value>) -> bool {
        matches!(value, Some(Value::Flag(true)))
    }

    fn to_value(&self) -> Option<Value> {
        Some(Value::Flag(*self))
    }
}

/// Holds whole numbers and sizes in types of numbers.
macro_rules! store_numbers {
    ($($number:ty),+) => { $(
        impl Stored for $number {
            fn from_value(value: Option<Value>) -> $number {
                match value {
                    Some(Value::Whole(number) | Value::Size(number)) => {
                        <$number>::try_from(number).expect("the declared bounds are those of the field")
                    }
                    _ => 0,
                }
            }

            fn to_value(&self) -> Option<Value> {
                Some(Value::Whole((*self).into()))
            }
        }
    )+ };
}

store_numbers!(u8, u16, u32, u64);

impl Stored for Duration {
    fn from_value(value: Option<Value>) -> Duration {
        match value {
            Some(Value::Time(time)) => time,
            _ => Duration::ZERO,
        }
    }

    fn to_value(&self) -> Option<Value> {
        Some(Value::Time(*self))
    }
}

impl<T: Stored> Stored for Option<T> {
    fn from_value(value: Option<Value>) -> Option<T> {
        value.map(|value| T::from_value(Some(value)))
    }

    fn to_value(&self) -> Option<Value> {
        self.as_ref().and_then(T::to_value)
    }
}

/// A word that is not set is the first of its type: only settings with a default are stored in a type of words itself.
impl<T: Word> Stored for T {
    fn from_value(value: Option<Value>) -> T {
        let mut known = T::WORDS.iter();
        let known = known.find(|(word, _)| value == Some(Value::Word(word)));
        known.unwrap_or(&T::WORDS[0]).1
    }

    fn to_value(&self) -> Option<Value> {
        Some(Value::Word(self.word()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Absent, Kind, words};
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Size {
        Small,
        Large,
    }

    impl Word for Size {
        const WORDS: &'static [(&'static str, Size)] =
            &[("small", Size::Small), ("large", Size::Large)];
    }

    plain_settings! {
        /// A box.
        pub struct Sample {
            /// How large the box is.
            size: Size = Kind::Word(words::<Size>), Absent::Is(Value::Word("large"));
            /// How many things the box holds.
            /// None by default.
            things: u32 = Kind::whole(0, 9), Absent::Is(Value::Whole(0));
            /// How long the box is closed.
            closed also "closed_secs": Option<Duration> = Kind::TIME, Absent::Means("for ever");
            /// Whether the box is red.
            red: bool = Kind::Flag, Absent::Is(Value::Flag(true));
        }
    }

    #[test]
    fn rows_and_fields_are_declared_together() {
        let names = Sample::SETTINGS
            .iter()
            .map(|row| (row.name, row.api_name()));
        let expected = [
            ("size", "size"),
            ("things", "things"),
            ("closed", "closed_secs"),
            ("red", "red"),
        ];
        assert!(names.eq(expected));
        assert_eq!(
            Sample::SETTINGS[1].doc,
            " How many things the box holds. None by default."
        );
        let expected = Sample {
            size: Size::Large,
            things: 0,
            closed: None,
            red: true,
        };
        assert_eq!(Sample::default(), expected);
    }

    #[test]
    fn values_there_and_back() {
        let written = |row: &'static Setting| match row.name {
            "size" => Some(Value::Word("small")),
            "things" => Some(Value::Whole(7)),
            "closed" => Some(Value::Time(Duration::from_secs(2))),
            _ => Some(Value::Flag(false)),
        };
        let sample = Sample::from_values(written);
        let expected = Sample {
            size: Size::Small,
            things: 7,
            closed: Some(Duration::from_secs(2)),
            red: false,
        };
        assert_eq!(sample, expected);
        let values = sample.values();
        let value = |name: &str| {
            let found = values.iter().find(|(row, _)| row.name == name);
            found.and_then(|(_, value)| *value)
        };
        for row in Sample::SETTINGS {
            assert_eq!(value(row.name), written(row), "{}", row.name);
        }
    }
}
