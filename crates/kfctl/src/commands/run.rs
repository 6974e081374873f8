//! `kfctl run`: compile, submit, follow. The exit code is 0 only for a run that was submitted and, with
//! `--follow`, succeeded.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use crate::cli::{Global, Output, Run};
use crate::compile;
use crate::instance::DataFolder;
use crate::kfp;
use crate::{follow, platform};

/// Runs the command.
pub fn run(global: &Global, args: &Run) -> Result<ExitCode> {
    let config = platform::config(global)?;
    let data = DataFolder::new(config.data_dir()?);
    compile::look_at(&args.file)?;
    if !args.target.is_given() {
        data.require_living()?;
    } else if !args.mounts.is_empty() {
        bail!(
            "--mount shows folders of this machine, which the nodes of a cluster do not have; put the files into an image or a claim"
        );
    }
    let images = parse_images(&args.images)?;
    let mounts = args
        .mounts
        .iter()
        .map(|mount| parse_mount(mount))
        .collect::<Result<Vec<_>>>()?;
    let parameters = parse_parameters(&args.parameters)?;
    platform::block_on(async {
        let mut document = compile::document(&config, &data, args).await?;
        replace_images(&mut document, &images)?;
        let kfp = platform::kfp(global, &args.target).await?;
        allow(&data, &mounts)?;
        let values = typed(&parameters, &document)?;
        require(&values, &document)?;
        let mut run = json!({
            "display_name": args.name.clone().unwrap_or_else(|| default_name(&document)),
            "pipeline_spec": document,
            "runtime_config": { "parameters": values },
        });
        if args.no_cache {
            forbid_cache(&mut run["pipeline_spec"]);
        }
        if let Some(experiment) = &args.experiment {
            run["experiment_id"] = kfp.experiment(experiment).await?.into();
        }
        if !mounts.is_empty() {
            run["plugins_input"] = json!({ "ferroflow.io/mounts": { "mounts": mounts } });
        }
        let submitted = kfp.create_run(&run).await?;
        announce(&data, args, &submitted)?;
        if !args.follow {
            return Ok(ExitCode::SUCCESS);
        }
        exit_code(follow::until_finished(&kfp, &submitted.run_id).await?)
    })
}

/// 0 for a run that succeeded, 1 for one that did not, 130 for a person who left.
pub fn exit_code(end: follow::End) -> Result<ExitCode> {
    Ok(match end {
        follow::End::Finished(run) if run.state == "SUCCEEDED" => ExitCode::SUCCESS,
        follow::End::Finished(_) => ExitCode::FAILURE,
        follow::End::Left => ExitCode::from(130),
    })
}

fn announce(data: &DataFolder, args: &Run, run: &kfp::Run) -> Result<()> {
    let page = format!("#/runs/details/{}", run.run_id);
    let url = if args.target.is_given() {
        format!("http://localhost:8080/{page}")
    } else {
        let record = data.require_living()?;
        format!("http://127.0.0.1:{}/{page}", record.console_port)
    };
    match args.output {
        Output::Json => println!(
            "{}",
            json!({ "run_id": run.run_id, "display_name": run.display_name, "url": url })
        ),
        Output::Table => {
            println!("run      {}  {}", run.display_name, run.run_id);
            println!("console  {url}");
            if args.target.is_given() {
                println!(
                    "         after: kubectl port-forward -n istio-system svc/istio-ingressgateway 8080:80"
                );
            }
            if !args.follow {
                println!("next     kfctl runs {} --follow", run.run_id);
            }
        }
    }
    Ok(())
}

fn default_name(document: &Value) -> String {
    let spec = document.get("pipeline_spec").unwrap_or(document);
    let name = spec["pipelineInfo"]["name"].as_str().unwrap_or("pipeline");
    format!(
        "{name} {}",
        jiff::Timestamp::now().strftime("%Y-%m-%d %H-%M-%S")
    )
}

/// `HOST:POD`, as the run carries it.
fn parse_mount(text: &str) -> Result<Value> {
    let Some((host, pod)) = text.rsplit_once(':') else {
        bail!("--mount {text}: say HOST:POD, such as ~/texts:/data/raw")
    };
    if !pod.starts_with('/') {
        bail!("--mount {text}: {pod} is not an absolute path");
    }
    let host =
        std::fs::canonicalize(host).with_context(|| format!("--mount {text}: look at {host}"))?;
    if !host.is_dir() {
        bail!("--mount {text}: {} is not a folder", host.display());
    }
    Ok(json!({ "hostPath": host, "mountPath": pod, "readOnly": true }))
}

/// The node mounts only host folders that its owner allowed; naming one on this command line allows it.
fn allow(data: &DataFolder, mounts: &[Value]) -> Result<()> {
    let path = data.path().join("allowed-host-paths");
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    let new: String = mounts
        .iter()
        .filter_map(|mount| mount["hostPath"].as_str())
        .filter(|folder| !known.lines().any(|line| line == *folder))
        .map(|folder| format!("{folder}\n"))
        .collect();
    if new.is_empty() {
        return Ok(());
    }
    std::fs::write(&path, known + &new)
        .with_context(|| format!("allow pods to mount the folders, in {}", path.display()))
}

fn parse_parameters(texts: &[String]) -> Result<Vec<(String, String)>> {
    texts
        .iter()
        .map(|text| match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => bail!("--param {text}: say NAME=VALUE"),
        })
        .collect()
}

/// `NAME=REFERENCE`; a name without a tag means `latest`, as everywhere.
fn parse_images(texts: &[String]) -> Result<Vec<(String, String)>> {
    texts
        .iter()
        .map(|text| match text.split_once('=') {
            Some((name, reference)) if !name.is_empty() && !reference.is_empty() => {
                Ok((tagged(name), reference.to_owned()))
            }
            _ => bail!(
                "--image-map {text}: say NAME=REFERENCE, such as train:latest=registry.example.com/train:1"
            ),
        })
        .collect()
}

fn tagged(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) {
        name.to_owned()
    } else {
        format!("{name}:latest")
    }
}

/// Puts other images in the place of those that steps name. A name that no step has is a mistake.
fn replace_images(document: &mut Value, images: &[(String, String)]) -> Result<()> {
    let spec = match document.get_mut("pipeline_spec") {
        Some(spec) => spec,
        None => document,
    };
    let mut named: Vec<&mut Value> = spec
        .pointer_mut("/deploymentSpec/executors")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flat_map(|executors| executors.values_mut())
        .filter_map(|executor| executor.pointer_mut("/container/image"))
        .collect();
    for (name, _) in images {
        let is_there = |image: &&mut Value| image.as_str().map(tagged).as_deref() == Some(name);
        if !named.iter().any(is_there) {
            let mut known: Vec<&str> = named.iter().filter_map(|image| image.as_str()).collect();
            known.sort_unstable();
            known.dedup();
            bail!(
                "--image-map {name}: no step has this image; they have: {}",
                known.join(", ")
            );
        }
    }
    for image in &mut named {
        let current = image.as_str().map(tagged).unwrap_or_default();
        if let Some((_, reference)) = images.iter().find(|(name, _)| *name == current) {
            **image = reference.as_str().into();
        }
    }
    Ok(())
}

/// Values by the types that the pipeline declares; the server judges the rest.
fn typed(parameters: &[(String, String)], document: &Value) -> Result<Map<String, Value>> {
    let spec = document.get("pipeline_spec").unwrap_or(document);
    let declared = &spec["root"]["inputDefinitions"]["parameters"];
    let mut values = Map::new();
    for (name, text) in parameters {
        let Some(declaration) = declared.get(name) else {
            let known: Vec<&str> = declared
                .as_object()
                .into_iter()
                .flat_map(Map::keys)
                .map(String::as_str)
                .collect();
            let known = if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            };
            bail!("--param {name}: the pipeline has no such parameter; it has: {known}");
        };
        let value = match declaration["parameterType"].as_str() {
            Some("STRING") | None => Value::String(text.clone()),
            Some(kind) => {
                serde_json::from_str(&text.replace("True", "true").replace("False", "false"))
                    .with_context(|| format!("--param {name}={text}: the pipeline wants {kind}"))?
            }
        };
        values.insert(name.clone(), value);
    }
    Ok(values)
}

/// Every parameter that the pipeline needs is given; the sentence says how.
fn require(given: &Map<String, Value>, document: &Value) -> Result<()> {
    let spec = document.get("pipeline_spec").unwrap_or(document);
    let declared = spec["root"]["inputDefinitions"]["parameters"].as_object();
    let missing: Vec<String> = declared
        .into_iter()
        .flatten()
        .filter(|(name, declaration)| {
            declaration.get("defaultValue").is_none()
                && declaration["isOptional"] != true
                && !given.contains_key(*name)
        })
        .map(|(name, _)| format!("--param {name}=VALUE"))
        .collect();
    if !missing.is_empty() {
        bail!(
            "the pipeline needs a value that has no default; add: {}",
            missing.join(" ")
        );
    }
    Ok(())
}

fn forbid_cache(document: &mut Value) {
    match document {
        Value::Object(map) => {
            if let Some(options) = map.get_mut("cachingOptions") {
                *options = json!({});
            }
            map.values_mut().for_each(forbid_cache);
        }
        Value::Array(list) => list.iter_mut().for_each(forbid_cache),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Value {
        json!({ "root": { "inputDefinitions": { "parameters": { "n": { "parameterType": "NUMBER_INTEGER" }, "s": { "parameterType": "STRING" }, "b": { "parameterType": "BOOLEAN" } } } } })
    }

    #[test]
    fn a_parameter_gets_the_type_that_the_pipeline_declares() {
        let given = [("n", "3"), ("s", "3"), ("b", "True")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let values = typed(&given, &document()).expect("all three are declared");
        assert_eq!(
            Value::Object(values),
            json!({ "n": 3, "s": "3", "b": true })
        );
    }

    #[test]
    fn an_unknown_parameter_is_refused_with_those_there_are() {
        let error =
            typed(&[("m".to_owned(), "1".to_owned())], &document()).expect_err("m is not declared");
        assert!(error.to_string().contains("b, n, s"), "{error}");
    }

    #[test]
    fn a_parameter_without_a_default_must_be_given() {
        let document = json!({ "root": { "inputDefinitions": { "parameters": {
            "n": { "parameterType": "NUMBER_INTEGER" },
            "d": { "parameterType": "STRING", "defaultValue": "" },
            "o": { "parameterType": "STRING", "isOptional": true },
        } } } });
        let error = require(&Map::new(), &document).expect_err("n has no default");
        assert!(
            error.to_string().ends_with("add: --param n=VALUE"),
            "{error}"
        );
        require(&Map::from_iter([("n".to_owned(), json!(1))]), &document).expect("all are there");
    }

    #[test]
    fn an_image_is_replaced_in_every_step_that_has_it_and_a_wrong_name_is_told() {
        let step = |image: &str| json!({ "container": { "image": image } });
        let document = json!({ "deploymentSpec": { "executors": { "a": step("train"), "b": step("train:latest"), "c": step("other:1") } } });
        let map = |text: &str| parse_images(&[text.to_owned()]).expect("well formed");
        let mut mapped = document.clone();
        replace_images(&mut mapped, &map("train=r.example.com/train:1")).expect("a and b have it");
        let executors = &mapped["deploymentSpec"]["executors"];
        assert_eq!(executors["a"], step("r.example.com/train:1"));
        assert_eq!(executors["b"], step("r.example.com/train:1"));
        assert_eq!(executors["c"], step("other:1"));
        let error = replace_images(&mut document.clone(), &map("trian=x")).expect_err("a typo");
        assert!(
            error
                .to_string()
                .ends_with("they have: other:1, train, train:latest"),
            "{error}"
        );
        assert!(parse_images(&["train".to_owned()]).is_err());
    }

    #[test]
    fn a_mount_must_lead_from_a_folder_to_an_absolute_path() {
        assert!(parse_mount("/tmp").is_err());
        assert!(parse_mount("/tmp:data").is_err());
        assert!(parse_mount("/no/such/folder:/data").is_err());
        assert_eq!(
            parse_mount("/usr:/data/raw").expect("/usr is a folder")["mountPath"],
            "/data/raw"
        );
    }

    #[test]
    fn no_cache_means_no_task_may_be_cached() {
        let mut document =
            json!({ "tasks": { "a": { "cachingOptions": { "enableCache": true } } } });
        forbid_cache(&mut document);
        assert_eq!(document["tasks"]["a"]["cachingOptions"], json!({}));
    }
}
