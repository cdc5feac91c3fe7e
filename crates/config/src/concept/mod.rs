//! One file per concept: its fields with type, default, range and meaning in one table.
//!
//! The table makes the struct, reading, printing, differences, the reference page and the JSON
//! Schema. Adding a field is one entry there, and the code that obeys it.

pub(crate) mod acme;
pub(crate) mod actions;
pub(crate) mod admin;
pub(crate) mod backend;
pub(crate) mod by_request;
pub(crate) mod cache;
pub(crate) mod compression;
pub(crate) mod ejection;
pub(crate) mod errors;
pub(crate) mod files;
pub(crate) mod forwarded;
pub(crate) mod health;
pub(crate) mod incidents;
pub(crate) mod keepalive;
pub(crate) mod limits;
pub(crate) mod listener;
pub(crate) mod log;
pub(crate) mod map;
pub(crate) mod matching;
pub(crate) mod on_error;
pub(crate) mod process;
pub(crate) mod queue;
pub(crate) mod rate_limit;
pub(crate) mod replace_body;
pub(crate) mod resolver;
pub(crate) mod retries;
pub(crate) mod route;
pub(crate) mod server;
pub(crate) mod sticky;
pub(crate) mod table;
pub(crate) mod timeouts;
pub(crate) mod tls;

/// Declares a concept: a struct whose fields are keys of a table.
///
/// After a field's default may follow parts of its [`crate::value::Spec`], e.g. `range = Some(…)`.
/// `flatten` adds the fields of other concepts, `finish` names a function that sees the whole.
macro_rules! concept {
    (
        $(#[doc = $doc:literal])+
        $name:ident, $title:literal
        $(, named $named:ident)?
        $(, flatten { $($(#[doc = $flat_doc:literal])+ $flat:ident: $flat_type:ty),+ })?
        $(, finish $finish:path)?
        ;
        $(
            $(#[doc = $field_doc:literal])+
            $field:ident: $type:ty = $default:expr $(, $attribute:ident = $value:expr)*;
        )*
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $(
                /// Its name.
                pub $named: $crate::value::Identifier,
            )?
            $($(#[doc = $field_doc])+ pub $field: $type,)*
            $($($(#[doc = $flat_doc])+ pub $flat: $flat_type,)+)?
            /// Where the section and its fields stand; ignored by `==`.
            pub origins: $crate::diagnostic::Origins,
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($named: Default::default(),)?
                    $($field: $default,)*
                    $($($flat: Default::default(),)+)?
                    origins: Default::default(),
                }
            }
        }

        impl $name {
            /// Where the section begins; line 0 when it was not written.
            #[must_use]
            pub fn origin(&self) -> &$crate::diagnostic::Origin {
                self.origins.section()
            }

            /// Where a field's value stands; `None` when the default holds.
            #[must_use]
            pub fn origin_of(&self, key: &str) -> Option<&$crate::diagnostic::Origin> {
                let found = self.origins.field(key);
                $($(let found = found.or_else(|| self.$flat.origins.field(key));)+)?
                found
            }
        }

        impl $crate::value::Section for $name {
            const TITLE: &'static str = $title;
            const DOC: &'static str = concat!($($doc, "\n",)+);
            const OWN: &'static [$crate::value::Spec] = &[$(
                $crate::value::Spec {
                    $($attribute: $value,)*
                    ..$crate::value::Spec::new(
                        stringify!($field),
                        concat!($($field_doc, "\n",)+),
                    )
                },
            )*];

            fn specs() -> Vec<&'static $crate::value::Spec> {
                let specs = Self::OWN.iter();
                $($(
                    let specs = specs.chain(<$flat_type as $crate::value::Section>::specs());
                )+)?
                specs.collect()
            }

            fn read_fields(
                entries: &[$crate::syntax::Entry],
                at: &$crate::diagnostic::Span,
                reader: &mut $crate::value::Reader<'_>,
            ) -> Self {
                let mut section = Self {
                    origins: $crate::diagnostic::Origins::new(reader.origin(at)),
                    $($($flat: <$flat_type as $crate::value::Section>::read_fields(entries, at, reader),)+)?
                    ..Self::default()
                };
                let mut specs = Self::OWN.iter();
                $(
                    if let Some(value) = reader.field(entries, specs.next(), &mut section.origins) {
                        section.$field = value;
                    }
                )*
                $($finish(&mut section);)?
                section
            }

            fn printed(&self) -> Vec<$crate::value::Printed> {
                let standard = Self::default();
                let mut specs = Self::OWN.iter();
                let fields = vec![$(
                    $crate::value::printed(&self.$field, &standard.$field, specs.next()),
                )*];
                let fields = fields.into_iter();
                $($(
                    let fields = fields.chain($crate::value::Section::printed(&self.$flat));
                )+)?
                fields.collect()
            }

            fn rows() -> Vec<$crate::value::Row> {
                let standard = Self::default();
                let mut specs = Self::OWN.iter();
                let rows = vec![$($crate::value::row::<$type>(&standard.$field, specs.next()),)*];
                let rows = rows.into_iter().flatten();
                $($(
                    let rows = rows.chain(<$flat_type as $crate::value::Section>::rows());
                )+)?
                rows.collect()
            }

            #[cfg(test)]
            fn sample_section(rng: &mut clearway_base::rng::Rng) -> Self {
                let mut section = Self::default();
                $(section.$named = <$crate::value::Identifier as $crate::value::Text>::sample(rng);)?
                let mut specs = Self::OWN.iter();
                $(
                    let spec = specs.next().unwrap();
                    if rng.below(3) == 0 || spec.required {
                        section.$field = <$type as $crate::value::Value>::sample(rng, spec);
                    }
                )*
                $($(
                    section.$flat = <$flat_type as $crate::value::Section>::sample_section(rng);
                )+)?
                section
            }
        }
    };
}
pub(crate) use concept;

/// Makes a concept a value: a table.
macro_rules! table_value {
    ($name:ty) => {
        impl $crate::value::Value for $name {
            fn read(
                node: &$crate::syntax::Node,
                _: &$crate::value::Spec,
                reader: &mut $crate::value::Reader<'_>,
            ) -> Option<Self> {
                $crate::value::read_table(node, reader)
            }

            fn print(&self, _: &$crate::value::Spec, out: &mut String) {
                $crate::value::print_inline(self, out);
            }

            fn kind(_: &$crate::value::Spec) -> String {
                format!("table, see {}", <Self as $crate::value::Section>::TITLE)
            }

            fn schema(_: &$crate::value::Spec) -> serde_json::Value {
                $crate::value::section_schema::<Self>()
            }

            #[cfg(test)]
            fn sample(rng: &mut clearway_base::rng::Rng, _: &$crate::value::Spec) -> Self {
                <Self as $crate::value::Section>::sample_section(rng)
            }
        }
    };
}
pub(crate) use table_value;

/// Declares a concept and a second struct in which every field is optional, for places that may
/// override what holds for the whole process.
macro_rules! overridable {
    (
        $(#[doc = $doc:literal])+
        $name:ident, $overrides:ident, $title:literal;
        $(
            $(#[doc = $field_doc:literal])+
            $field:ident: $type:ty = $default:expr $(, $attribute:ident = $value:expr)*;
        )+
    ) => {
        $crate::concept::concept! {
            $(#[doc = $doc])+
            $name, $title;
            $($(#[doc = $field_doc])+ $field: $type = $default $(, $attribute = $value)*;)+
        }
        $crate::concept::table_value!($name);

        $crate::concept::concept! {
            /// The same settings where they hold for a part only: what is not set here is taken from
            /// the next wider place.
            $overrides, $title;
            $($(#[doc = $field_doc])+ $field: Option<$type> = None $(, $attribute = $value)*;)+
        }
        $crate::concept::table_value!($overrides);

        impl $name {
            /// What holds when `overrides` are applied one after the other, the narrowest last.
            #[must_use]
            pub fn resolved(&self, overrides: &[&$overrides]) -> Self {
                let mut resolved = self.clone();
                for narrower in overrides {
                    $(
                        if let Some(value) = &narrower.$field {
                            resolved.$field = value.clone();
                        }
                    )+
                    for (key, origin) in narrower.origins.written() {
                        resolved.origins.set(key, origin.clone());
                    }
                }
                resolved
            }
        }
    };
}
pub(crate) use overridable;
