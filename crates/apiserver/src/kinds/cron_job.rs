//! CronJobs.

use objects::{FieldError, names};
use serde_json::{Value, json};

use super::fields::{at, fill, fill_text, is_empty, spec, text};
use super::job::validate_job_spec;
use super::pod_spec::default_template;
use super::workload::not_negative;
use super::{Strategy, start_status};

/// Jobs are named after their CronJob, with eleven characters added.
const NAME_MAX: usize = 52;

pub(super) struct CronJob;

impl Strategy for CronJob {
    fn check_name(&self, name: &str) -> Vec<String> {
        let mut complaints = names::dns_subdomain(name);
        if name.len() > NAME_MAX {
            complaints.push(format!("must be no more than {NAME_MAX} characters"));
        }
        complaints
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        let Some(spec) = spec(object) else { return };
        fill_text(spec, "concurrencyPolicy", "Allow");
        fill(spec, "suspend", false);
        fill(spec, "successfulJobsHistoryLimit", 3);
        fill(spec, "failedJobsHistoryLimit", 1);
        if let Some(job) = at(spec, "jobTemplate").and_then(|template| at(template, "spec")) {
            default_template(job);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        start_status(object, json!({}));
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let spec = &object["spec"];
        schedule(text(&spec["schedule"]), &mut errors);
        for field in [
            "spec.startingDeadlineSeconds",
            "spec.successfulJobsHistoryLimit",
            "spec.failedJobsHistoryLimit",
        ] {
            not_negative(object, field, &mut errors);
        }
        let policy = text(&spec["concurrencyPolicy"]);
        let policies = ["Allow", "Forbid", "Replace"];
        if !policies.contains(&policy) {
            errors.push(FieldError::not_supported(
                "spec.concurrencyPolicy",
                policy,
                &policies,
            ));
        }
        if let Some(zone) = spec["timeZone"].as_str()
            && let Some(detail) = unusable(zone)
        {
            errors.push(FieldError::invalid("spec.timeZone", zone, detail));
        }
        errors.extend(validate_job_spec(object, "spec.jobTemplate.spec"));
        errors
    }
}

/// Why a text names no time zone.
fn unusable(zone: &str) -> Option<String> {
    if zone.is_empty() {
        return Some("timeZone must be nil or non-empty string".into());
    }
    if zone.eq_ignore_ascii_case("local") {
        return Some(
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
                .into(),
        );
    }
    jiff::tz::TimeZone::get(zone)
        .is_err()
        .then(|| format!("unknown time zone {zone}"))
}

/// The shape of a schedule: five fields, or a name after `@`. What each field means is the controller's.
fn schedule(schedule: &str, errors: &mut Vec<FieldError>) {
    let field = "spec.schedule";
    if schedule.is_empty() {
        errors.push(FieldError::required(field, ""));
        return;
    }
    if schedule.contains("TZ") {
        let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        errors.push(FieldError::invalid(field, schedule, detail));
        return;
    }
    if let Some(name) = schedule.strip_prefix('@') {
        let is_known = matches!(
            name,
            "yearly" | "annually" | "monthly" | "weekly" | "daily" | "midnight" | "hourly"
        ) || name.starts_with("every ");
        if !is_known {
            let detail = format!("unrecognized descriptor: {schedule}");
            errors.push(FieldError::invalid(field, schedule, detail));
        }
        return;
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != 5 {
        let detail = format!(
            "expected exactly 5 fields, found {}: [{}]",
            fields.len(),
            fields.join(" ")
        );
        errors.push(FieldError::invalid(field, schedule, detail));
        return;
    }
    let ranges = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];
    if let Some(detail) = fields
        .iter()
        .zip(ranges)
        .find_map(|(part, range)| out_of_range(part, range))
    {
        errors.push(FieldError::invalid(field, schedule, detail));
        return;
    }
    let is_plain = |part: &&str| {
        !is_empty(&json!(part))
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '*' | '/' | ',' | '-' | '?'))
    };
    if let Some(odd) = fields.iter().find(|part| !is_plain(part)) {
        errors.push(FieldError::invalid(
            field,
            schedule,
            format!("failed to parse {odd:?}"),
        ));
    }
}

/// Numbers of a field that its range does not hold; names are read by the controller.
fn out_of_range(part: &str, (first, last): (u32, u32)) -> Option<String> {
    part.split(',').find_map(|piece| {
        let (range, step) = piece.split_once('/').unwrap_or((piece, "1"));
        let (start, end) = range.split_once('-').unwrap_or((range, range));
        let (start, end) = (start.parse::<u32>().ok()?, end.parse::<u32>().ok()?);
        if start < first {
            Some(format!(
                "beginning of range ({start}) below minimum ({first}): {piece}"
            ))
        } else if end > last {
            Some(format!(
                "end of range ({end}) above maximum ({last}): {piece}"
            ))
        } else if start > end {
            Some(format!(
                "beginning of range ({start}) beyond end of range ({end}): {piece}"
            ))
        } else if step == "0" {
            Some(format!(
                "step of range should be a positive number: {piece}"
            ))
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron_job(schedule: &str) -> Value {
        let mut cron_job = json!({"metadata": {"name": "c"}, "spec": {
            "schedule": schedule,
            "jobTemplate": {"spec": {"template": {"spec": {
                "restartPolicy": "Never", "containers": [{"name": "a", "image": "a:1"}],
            }}}},
        }});
        CronJob.default(&mut cron_job);
        cron_job
    }

    #[test]
    fn a_bare_cron_job_keeps_three_good_jobs_and_one_bad() {
        let spec = &cron_job("* * * * *")["spec"];
        assert_eq!(
            (
                &spec["successfulJobsHistoryLimit"],
                &spec["failedJobsHistoryLimit"],
                &spec["concurrencyPolicy"]
            ),
            (&json!(3), &json!(1), &json!("Allow"))
        );
        assert!(spec["jobTemplate"]["spec"].get("backoffLimit").is_none());
    }

    #[test]
    fn a_schedule_has_five_fields_or_a_known_name() {
        for good in [
            "*/5 * * * *",
            "0 9-17 * * mon-fri",
            "@daily",
            "@every 1h30m",
        ] {
            assert_eq!(CronJob.validate_create(&cron_job(good)), [], "{good}");
        }
        for bad in [
            "",
            "* * *",
            "@sometimes",
            "TZ=UTC * * * * *",
            "* * * * ;",
            "61 * * * *",
            "0 0 0 * *",
            "5-3 * * * *",
        ] {
            assert!(!CronJob.validate_create(&cron_job(bad)).is_empty(), "{bad}");
        }
    }

    #[test]
    fn a_name_leaves_room_for_the_names_of_its_jobs() {
        assert!(CronJob.check_name(&"c".repeat(52)).is_empty());
        assert_eq!(CronJob.check_name(&"c".repeat(53)).len(), 1);
    }
}
