//! From text or API JSON to normalised documents: the pipeline, and the platform document that may follow it.
//! What is stored and given back is exactly this, so both documents survive upload, reading and running.

use serde_json::{Value, json};

use super::{Error, numbers, schema};

/// The two documents of a compiled pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The intermediate representation.
    pub pipeline: Value,
    /// The platform document (`{"platforms": …}`), when there is one.
    pub platform: Option<Value>,
}

impl Document {
    /// Reads one or two YAML (or JSON) documents.
    pub fn parse(text: &str) -> Result<Self, Error> {
        // The compiler writes `n` and `y` unquoted and means text, so only true and false are booleans.
        let options = serde_saphyr::options! { strict_booleans: true };
        let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
            .map_err(|problem| Error::Syntax(first_line(&problem.to_string())))?;
        let mut documents = documents.into_iter().filter(|document| !document.is_null());
        let Some(pipeline) = documents.next() else {
            return Err(Error::Syntax("it is empty".to_owned()));
        };
        let platform = documents.next();
        if documents.next().is_some() {
            return Err(Error::Syntax(
                "it has more than two documents (pipeline, platform)".to_owned(),
            ));
        }
        Self::new(pipeline, platform)
    }

    /// Takes either form the API knows: the bare pipeline, or `{pipeline_spec, platform_spec}`.
    pub fn from_api(value: Value) -> Result<Self, Error> {
        let mut value = value;
        if let Value::Object(fields) = &mut value {
            for (pipeline, platform) in [
                ("pipeline_spec", "platform_spec"),
                ("pipelineSpec", "platformSpec"),
            ] {
                if let Some(pipeline) = fields.remove(pipeline) {
                    return Self::new(pipeline, fields.remove(platform));
                }
            }
        }
        Self::new(value, None)
    }

    fn new(mut pipeline: Value, platform: Option<Value>) -> Result<Self, Error> {
        let Value::Object(fields) = &pipeline else {
            return Err(Error::Syntax(format!(
                "a pipeline is a mapping, not {}",
                schema::kind_of(&pipeline)
            )));
        };
        if fields.get("kind").is_some_and(|kind| kind == "Workflow") {
            return Err(Error::Legacy);
        }
        schema::conform(&mut pipeline, schema::PIPELINE, "pipeline_spec")?;
        numbers::normalise(&mut pipeline);
        let platform = match platform {
            None | Some(Value::Null) => None,
            Some(mut platform) => {
                // Unknown keys must be tolerated here, so only the outermost shape is checked.
                if platform
                    .get("platforms")
                    .is_none_or(|platforms| !platforms.is_object())
                {
                    return Err(Error::field(
                        "platform_spec.platforms",
                        "the second document must hold a mapping of platforms",
                    ));
                }
                numbers::normalise(&mut platform);
                Some(platform)
            }
        };
        Ok(Self { pipeline, platform })
    }

    /// The form the API answers with.
    pub fn to_api(&self) -> Value {
        match &self.platform {
            None => self.pipeline.clone(),
            Some(platform) => json!({"pipeline_spec": self.pipeline, "platform_spec": platform}),
        }
    }
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_documents_survive_reading_and_answering() {
        let document = Document::parse(
            "pipelineInfo: {name: a}\n---\nplatforms: {kubernetes: {pipelineConfig: {x: 2.0}}}\n",
        )
        .unwrap();
        assert_eq!(
            document.to_api(),
            json!({"pipeline_spec": {"pipelineInfo": {"name": "a"}}, "platform_spec": {"platforms": {"kubernetes": {"pipelineConfig": {"x": 2}}}}})
        );
        assert_eq!(Document::from_api(document.to_api()).unwrap(), document);
    }

    #[test]
    fn an_unquoted_n_is_text() {
        let document = Document::parse("pipelineInfo: {name: n, description: yes}\n").unwrap();
        assert_eq!(
            document.pipeline,
            json!({"pipelineInfo": {"name": "n", "description": "yes"}})
        );
    }

    #[test]
    fn a_leading_comment_is_only_documentation() {
        assert_eq!(
            Document::parse("# PIPELINE DEFINITION\n# Name: a\npipelineInfo:\n  name: a\n")
                .unwrap()
                .platform,
            None
        );
    }

    #[test]
    fn a_legacy_workflow_is_named_for_what_it_is() {
        assert_eq!(
            Document::parse("apiVersion: argoproj.io/v1alpha1\nkind: Workflow\n"),
            Err(Error::Legacy)
        );
    }

    #[test]
    fn text_that_is_no_document_is_a_syntax_error() {
        for text in [
            "",
            "a: [",
            "just text",
            "- 1",
            "a: 1\n---\nplatforms: {}\n---\nb: 1",
        ] {
            assert!(Document::parse(text).is_err(), "{text:?} was read");
        }
    }
}
