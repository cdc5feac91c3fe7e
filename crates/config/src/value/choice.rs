//! Values that are one of a few names.

/// Declares an enum whose variants have names in the file.
macro_rules! choices {
    (
        $(#[doc = $doc:literal])+
        $name:ident {
            $($(#[doc = $vdoc:literal])+ $variant:ident = $text:literal,)+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[doc = $vdoc])+ $variant,)+ }

        impl $name {
            /// Every choice, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in the file.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// What it means.
            #[must_use]
            pub fn doc(self) -> &'static str {
                match self { $(Self::$variant => concat!($($vdoc, "\n"),+).trim_ascii(),)+ }
            }
        }

        $crate::value::choice_value!($name);
    };
}
pub(crate) use choices;

/// Makes an enum with `ALL` and `name()` a value.
macro_rules! choice_value {
    ($name:ident) => {
        impl $crate::value::Value for $name {
            fn read(
                node: &$crate::syntax::Node,
                _: &$crate::value::Spec,
                reader: &mut $crate::value::Reader<'_>,
            ) -> Option<Self> {
                let names = || Self::ALL.iter().map(|choice| choice.name());
                let expected = $crate::words::choices(names());
                let Some(text) = node.as_text() else {
                    return reader.wrong_type(node, &expected);
                };
                let found = Self::ALL.iter().copied().find(|choice| choice.name() == text);
                if found.is_none() {
                    let message = format!("{text:?} is not one of the choices");
                    let mut problem = $crate::value::Problem::new(message, expected);
                    problem.hint = $crate::words::closest(text, names())
                        .map(|close| format!("did you mean {close:?}?"));
                    reader.problem(&node.span, "value", problem);
                }
                found
            }

            fn print(&self, _: &$crate::value::Spec, out: &mut String) {
                out.push_str(&$crate::words::quoted(self.name()));
            }

            fn kind(_: &$crate::value::Spec) -> String {
                $crate::words::choices(Self::ALL.iter().map(|choice| choice.name()))
            }

            fn schema(_: &$crate::value::Spec) -> serde_json::Value {
                let names: Vec<_> = Self::ALL.iter().map(|choice| choice.name()).collect();
                serde_json::json!({ "enum": names })
            }

            #[cfg(test)]
            fn sample(rng: &mut clearway_base::rng::Rng, _: &$crate::value::Spec) -> Self {
                let count = u64::try_from(Self::ALL.len()).unwrap();
                Self::ALL[usize::try_from(rng.below(count)).unwrap()]
            }
        }
    };
}
pub(crate) use choice_value;
