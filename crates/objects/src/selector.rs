//! Selectors: which objects a list, a watch or an owner means.
//! Label selectors come as text (`a=b,c in (d,e)`) or as JSON (`matchLabels`, `matchExpressions`); field selectors as text.

mod fields;
mod labels;
mod text;

pub use fields::{FieldOperator, FieldRequirement, FieldSelector};
pub use labels::{LabelOperator, LabelRequirement, LabelSelector, Labels};

/// A selector that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// A label selector in text form.
    #[error("unable to parse requirement: {0}")]
    Label(String),
    /// A label selector in JSON form.
    #[error("{0}")]
    Expression(String),
    /// A field selector.
    #[error("invalid selector: {0}")]
    Field(String),
}
