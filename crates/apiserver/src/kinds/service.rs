//! Services. Addresses and node ports are handed out by `services`, after these defaults.

use std::collections::HashSet;

use objects::{FieldError, names};
use serde_json::{Value, json};

use super::endpoints::validate_address;
use super::fields::{
    Fields, at_or_new, each, fill, fill_text, is_absent, is_empty, list, spec, text,
};
use super::{Strategy, start_status};

pub(super) struct Service;

impl Strategy for Service {
    fn check_name(&self, name: &str) -> Vec<String> {
        names::dns_label_1035(name)
    }

    fn default(&self, object: &mut Value) {
        let Some(spec) = spec(object) else { return };
        fill_text(spec, "sessionAffinity", "None");
        match text(&spec["sessionAffinity"]) {
            "None" => {
                spec.remove("sessionAffinityConfig");
            }
            "ClientIP" => {
                if let Some(client) = at_or_new(spec, "sessionAffinityConfig")
                    .and_then(|config| at_or_new(config, "clientIP"))
                {
                    fill(client, "timeoutSeconds", 10_800);
                }
            }
            _ => {}
        }
        fill_text(spec, "type", "ClusterIP");
        for port in each(spec, "ports") {
            fill_text(port, "protocol", "TCP");
            let has_no_target = is_absent(port, "targetPort")
                || port["targetPort"] == 0
                || port["targetPort"] == "";
            if has_no_target && let Some(number) = port.get("port").cloned() {
                port.insert("targetPort".into(), number);
            }
        }
        let kind = text(&spec["type"]).to_owned();
        let is_reached_from_outside = matches!(kind.as_str(), "NodePort" | "LoadBalancer")
            || (kind == "ClusterIP" && spec.get("externalIPs").is_some_and(|ips| !is_empty(ips)));
        if is_reached_from_outside {
            fill_text(spec, "externalTrafficPolicy", "Cluster");
        }
        if kind != "ExternalName" {
            fill_text(spec, "internalTrafficPolicy", "Cluster");
        }
        if kind == "LoadBalancer" {
            fill(spec, "allocateLoadBalancerNodePorts", true);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        start_status(object, json!({"loadBalancer": {}}));
        if let Some(spec) = spec(object) {
            let kind = text(&spec["type"]).to_owned();
            default_families(spec, &kind);
        }
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        super::keep(object, old, "status");
        let (new_type, old_type) = (
            text(&object["spec"]["type"]).to_owned(),
            text(&old["spec"]["type"]).to_owned(),
        );
        let Some(spec) = spec(object) else { return };
        default_families(spec, &new_type);
        if new_type == "ExternalName" {
            if old_type != "ExternalName" {
                for field in [
                    "clusterIP",
                    "clusterIPs",
                    "ipFamilies",
                    "ipFamilyPolicy",
                    "internalTrafficPolicy",
                ] {
                    if spec.get(field) == old["spec"].get(field) {
                        spec.remove(field);
                    }
                }
            }
            return;
        }
        keep_addresses(spec, &old["spec"]);
        if new_type != "ClusterIP" {
            keep_node_ports(spec, &old["spec"]);
        } else if old_type != "ClusterIP" {
            drop_node_ports(spec, &old["spec"]);
        }
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let spec = &object["spec"];
        validate_type(spec, &mut errors);
        validate_ports(spec, &mut errors);
        objects::meta::validate_labels(spec["selector"].as_object(), "spec.selector", &mut errors);
        let affinity = text(&spec["sessionAffinity"]);
        let affinities = ["ClientIP", "None"];
        if !affinities.contains(&affinity) {
            errors.push(FieldError::not_supported(
                "spec.sessionAffinity",
                affinity,
                &affinities,
            ));
        }
        validate_addresses(spec, &mut errors);
        validate_policies(spec, &mut errors);
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate_create(object);
        let (new, old) = (&object["spec"], &old["spec"]);
        let stays_inside = new["type"] != "ExternalName" && old["type"] != "ExternalName";
        let before = text(&old["clusterIP"]);
        if stays_inside && !before.is_empty() && new["clusterIP"] != old["clusterIP"] {
            errors.push(FieldError::invalid(
                "spec.clusterIPs[0]",
                new["clusterIPs"].clone(),
                "may not change once set",
            ));
        }
        errors
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &["spec.clusterIP", "spec.type"]
    }
}

/// This cluster speaks IPv4. A Service without address and selector may list endpoints of either family.
fn default_families(spec: &mut Fields, kind: &str) {
    if kind == "ExternalName" {
        return;
    }
    let has_no_selector = spec.get("selector").is_none_or(is_empty);
    let is_list = spec.get("clusterIP") == Some(&json!("None")) && has_no_selector;
    let (policy, families) = if is_list {
        ("RequireDualStack", json!(["IPv4", "IPv6"]))
    } else {
        ("SingleStack", json!(["IPv4"]))
    };
    fill_text(spec, "ipFamilyPolicy", policy);
    if spec.get("ipFamilies").is_none_or(is_empty) {
        spec.insert("ipFamilies".into(), families);
    }
    let single = spec
        .get("clusterIP")
        .map(text)
        .unwrap_or_default()
        .to_owned();
    let first = spec
        .get("clusterIPs")
        .map(|ips| text(&ips[0]))
        .unwrap_or_default()
        .to_owned();
    match (single.is_empty(), first.is_empty()) {
        (false, true) => {
            spec.insert("clusterIPs".into(), json!([single]));
        }
        (true, false) => {
            spec.insert("clusterIP".into(), first.into());
        }
        _ => {}
    }
}

/// Who leaves the addresses out of an update means the ones there are.
fn keep_addresses(spec: &mut Fields, old: &Value) {
    for field in ["clusterIP", "clusterIPs"] {
        if spec.get(field).is_none_or(is_empty) && !is_empty(&old[field]) {
            spec.insert(field.into(), old[field].clone());
        }
    }
    let single = spec.get("clusterIP").cloned().unwrap_or_default();
    let is_same = spec.get("clusterIPs").is_some_and(|ips| ips[0] == single);
    if !is_empty(&single) && !is_same {
        spec.insert("clusterIPs".into(), json!([single]));
    }
    if is_absent(spec, "healthCheckNodePort") && !is_empty(&old["healthCheckNodePort"]) {
        spec.insert(
            "healthCheckNodePort".into(),
            old["healthCheckNodePort"].clone(),
        );
    }
}

/// A port that names no node port keeps the one it had.
fn keep_node_ports(spec: &mut Fields, old: &Value) {
    let used: HashSet<i64> = each(spec, "ports")
        .filter_map(|port| port.get("nodePort")?.as_i64())
        .collect();
    for port in each(spec, "ports") {
        if !is_absent(port, "nodePort") && port["nodePort"] != 0 {
            continue;
        }
        let before = list(&old["ports"])
            .find(|old| {
                Some(&old["port"]) == port.get("port")
                    && Some(&old["protocol"]) == port.get("protocol")
            })
            .and_then(|old| old["nodePort"].as_i64())
            .filter(|number| *number != 0 && !used.contains(number));
        if let Some(number) = before {
            port.insert("nodePort".into(), number.into());
        }
    }
}

/// A Service that is no longer reached from outside gives its node ports back.
fn drop_node_ports(spec: &mut Fields, old: &Value) {
    let had: HashSet<i64> = list(&old["ports"])
        .filter_map(|port| port["nodePort"].as_i64())
        .collect();
    for port in each(spec, "ports") {
        if port
            .get("nodePort")
            .and_then(Value::as_i64)
            .is_some_and(|number| had.contains(&number))
        {
            port.remove("nodePort");
        }
    }
    for field in ["externalTrafficPolicy", "allocateLoadBalancerNodePorts"] {
        if spec.get(field) == old.get(field) {
            spec.remove(field);
        }
    }
}

fn validate_type(spec: &Value, errors: &mut Vec<FieldError>) {
    let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    match text(&spec["type"]) {
        "ExternalName" => {
            let name = text(&spec["externalName"]);
            if name.is_empty() {
                errors.push(FieldError::required("spec.externalName", ""));
            } else {
                for detail in names::dns_subdomain(name.trim_end_matches('.')) {
                    errors.push(FieldError::invalid("spec.externalName", name, detail));
                }
            }
            if !is_empty(&spec["clusterIP"]) {
                errors.push(FieldError::forbidden(
                    "spec.clusterIPs[0]",
                    "may not be set for ExternalName services",
                ));
            }
        }
        kind @ ("NodePort" | "LoadBalancer") if spec["clusterIP"] == "None" => {
            errors.push(FieldError::invalid(
                "spec.clusterIPs[0]",
                "None",
                format!("may not be set to 'None' for {kind} services"),
            ));
        }
        kind if !kinds.contains(&kind) => {
            errors.push(FieldError::not_supported("spec.type", kind, &kinds));
        }
        _ => {}
    }
}

fn validate_ports(spec: &Value, errors: &mut Vec<FieldError>) {
    let count = list(&spec["ports"]).count();
    let is_headless = spec["clusterIP"] == "None";
    if count == 0 && !is_headless && spec["type"] != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    let (mut names_seen, mut ports_seen) = (HashSet::new(), HashSet::new());
    for (index, port) in list(&spec["ports"]).enumerate() {
        let path = format!("spec.ports[{index}]");
        match text(&port["name"]) {
            "" if count > 1 => errors.push(FieldError::required(format!("{path}.name"), "")),
            "" => {}
            name => {
                for detail in names::dns_label(name) {
                    errors.push(FieldError::invalid(format!("{path}.name"), name, detail));
                }
                if !names_seen.insert(name) {
                    errors.push(FieldError::duplicate(format!("{path}.name"), name));
                }
            }
        }
        number_in_range(&port["port"], &format!("{path}.port"), errors);
        let protocols = ["SCTP", "TCP", "UDP"];
        let protocol = text(&port["protocol"]);
        if !protocols.contains(&protocol) {
            errors.push(FieldError::not_supported(
                format!("{path}.protocol"),
                protocol,
                &protocols,
            ));
        }
        match &port["targetPort"] {
            Value::String(name) => {
                for detail in names::port_name(name) {
                    errors.push(FieldError::invalid(
                        format!("{path}.targetPort"),
                        name.as_str(),
                        detail,
                    ));
                }
            }
            number => number_in_range(number, &format!("{path}.targetPort"), errors),
        }
        let node_port = port["nodePort"].as_i64().unwrap_or_default();
        if node_port != 0 && spec["type"] == "ClusterIP" {
            errors.push(FieldError::forbidden(
                format!("{path}.nodePort"),
                "may not be used when `type` is 'ClusterIP'",
            ));
        }
        if !ports_seen.insert((port["port"].as_i64(), protocol)) {
            errors.push(FieldError::duplicate(
                path,
                json!({"port": port["port"], "protocol": protocol}),
            ));
        }
    }
}

pub(super) fn number_in_range(value: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let number = value.as_i64().unwrap_or_default();
    if !(1..=65535).contains(&number) {
        errors.push(FieldError::invalid(
            field,
            number,
            "must be between 1 and 65535, inclusive",
        ));
    }
}

/// How traffic comes in and is spread, and what only a load balancer has.
fn validate_policies(spec: &Value, errors: &mut Vec<FieldError>) {
    let seconds = &spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"];
    if seconds
        .as_i64()
        .is_some_and(|seconds| !(1..=86_400).contains(&seconds))
    {
        errors.push(FieldError::invalid(
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
            seconds.clone(),
            "must be greater than 0 and less than 86400",
        ));
    }
    let kind = text(&spec["type"]);
    let is_outside = matches!(kind, "NodePort" | "LoadBalancer") || !is_empty(&spec["externalIPs"]);
    let policy = text(&spec["externalTrafficPolicy"]);
    if !is_outside && !policy.is_empty() {
        errors.push(FieldError::invalid(
            "spec.externalTrafficPolicy",
            policy,
            "may only be set for externally-accessible services",
        ));
    }
    if is_outside {
        one_of(spec, "externalTrafficPolicy", &["Cluster", "Local"], errors);
    }
    one_of(spec, "internalTrafficPolicy", &["Cluster", "Local"], errors);
    one_of(spec, "trafficDistribution", &["PreferClose"], errors);
    one_of(
        spec,
        "ipFamilyPolicy",
        &["PreferDualStack", "RequireDualStack", "SingleStack"],
        errors,
    );
    for (index, family) in list(&spec["ipFamilies"]).enumerate() {
        let families = ["IPv4", "IPv6"];
        if !families.contains(&text(family)) {
            let field = format!("spec.ipFamilies[{index}]");
            errors.push(FieldError::not_supported(field, text(family), &families));
        }
    }
    for (index, ip) in list(&spec["externalIPs"]).enumerate() {
        validate_address(text(ip), &format!("spec.externalIPs[{index}]"), errors);
    }
    if kind == "LoadBalancer" {
        for (index, range) in list(&spec["loadBalancerSourceRanges"]).enumerate() {
            if !is_cidr(text(range).trim()) {
                errors.push(FieldError::invalid(
                    format!("spec.LoadBalancerSourceRanges[{index}]"),
                    text(range),
                    NO_CIDR,
                ));
            }
        }
        return;
    }
    for (key, field) in [
        ("loadBalancerSourceRanges", "LoadBalancerSourceRanges"),
        (
            "allocateLoadBalancerNodePorts",
            "allocateLoadBalancerNodePorts",
        ),
        ("loadBalancerClass", "loadBalancerClass"),
    ] {
        if !spec[key].is_null() {
            errors.push(FieldError::forbidden(
                format!("spec.{field}"),
                "may only be used when `type` is 'LoadBalancer'",
            ));
        }
    }
}

fn one_of(spec: &Value, key: &str, supported: &[&str], errors: &mut Vec<FieldError>) {
    let value = text(&spec[key]);
    if !value.is_empty() && !supported.contains(&value) {
        errors.push(FieldError::not_supported(
            format!("spec.{key}"),
            value,
            supported,
        ));
    }
}

pub(super) const NO_CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// An address and the length of a prefix.
pub(super) fn is_cidr(text: &str) -> bool {
    text.split_once('/').is_some_and(|(address, length)| {
        let bits = match address.parse() {
            Ok(std::net::IpAddr::V4(_)) => 32,
            Ok(std::net::IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        length.parse::<u8>().is_ok_and(|length| length <= bits)
    })
}

fn validate_addresses(spec: &Value, errors: &mut Vec<FieldError>) {
    for (index, ip) in list(&spec["clusterIPs"]).enumerate() {
        let address = text(ip);
        if address != "None" && address.parse::<std::net::IpAddr>().is_err() {
            errors.push(FieldError::invalid(
                format!("spec.clusterIPs[{index}]"),
                address,
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ));
        }
    }
    if !is_empty(&spec["clusterIP"]) && spec["clusterIP"] != spec["clusterIPs"][0] {
        errors.push(FieldError::invalid(
            "spec.clusterIPs",
            spec["clusterIPs"].clone(),
            "first value must match `clusterIP`",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(spec: Value) -> Value {
        let mut service = json!({"metadata": {"name": "s"}, "spec": spec});
        Service.default(&mut service);
        Service.prepare_create(&mut service);
        service
    }

    fn complaints(spec: Value) -> Vec<String> {
        Service
            .validate_create(&service(spec))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_bare_service_is_reached_inside_the_cluster_over_ipv4() {
        let service = service(json!({"ports": [{"port": 80}]}));
        assert_eq!(
            service["spec"],
            json!({
                "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
                "sessionAffinity": "None", "type": "ClusterIP", "internalTrafficPolicy": "Cluster",
                "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            })
        );
    }

    #[test]
    fn services_reached_from_outside_say_how() {
        let spec =
            service(json!({"type": "LoadBalancer", "ports": [{"port": 80}]}))["spec"].clone();
        assert_eq!(spec["externalTrafficPolicy"], "Cluster");
        assert_eq!(spec["allocateLoadBalancerNodePorts"], true);
        let spec = service(json!({"sessionAffinity": "ClientIP", "ports": [{"port": 80}]}))["spec"]
            .clone();
        assert_eq!(
            spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"],
            10800
        );
    }

    #[test]
    fn an_update_that_leaves_the_address_out_keeps_it_and_another_address_is_refused() {
        let old = service(json!({"ports": [{"port": 80}], "clusterIP": "10.96.0.9"}));
        let mut new = service(json!({"ports": [{"port": 81}]}));
        Service.prepare_update(&mut new, &old);
        assert_eq!(new["spec"]["clusterIPs"], json!(["10.96.0.9"]));
        assert_eq!(Service.validate_update(&new, &old), []);
        let mut new = service(json!({"ports": [{"port": 81}], "clusterIP": "10.96.0.10"}));
        Service.prepare_update(&mut new, &old);
        assert_eq!(
            Service.validate_update(&new, &old)[0].to_string(),
            r#"spec.clusterIPs[0]: Invalid value: []string{"10.96.0.10"}: may not change once set"#
        );
    }

    #[test]
    fn an_update_keeps_node_ports_until_the_service_turns_inward() {
        let old = service(json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}));
        let mut new = service(json!({"type": "NodePort", "ports": [{"port": 80}]}));
        Service.prepare_update(&mut new, &old);
        assert_eq!(new["spec"]["ports"][0]["nodePort"], 30080);
        let mut inward = old.clone();
        inward["spec"]["type"] = json!("ClusterIP");
        Service.prepare_update(&mut inward, &old);
        assert!(inward["spec"]["ports"][0].get("nodePort").is_none());
        assert!(inward["spec"].get("externalTrafficPolicy").is_none());
    }

    #[test]
    fn ports_are_needed_named_when_several_and_not_repeated() {
        assert_eq!(complaints(json!({})), ["spec.ports: Required value"]);
        assert_eq!(
            complaints(json!({"clusterIP": "None"})),
            Vec::<String>::new()
        );
        assert_eq!(
            complaints(json!({"ports": [{"port": 80}, {"name": "b", "port": 80}]})),
            [
                "spec.ports[0].name: Required value",
                r#"spec.ports[1]: Duplicate value: map[string]interface {}{"port":80, "protocol":"TCP"}"#,
            ]
        );
        assert_eq!(
            complaints(json!({"ports": [{"port": 0}]})),
            [
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
            ]
        );
    }

    #[test]
    fn an_external_name_needs_a_name_and_takes_no_address() {
        assert_eq!(
            complaints(json!({"type": "ExternalName"})),
            ["spec.externalName: Required value"]
        );
        assert_eq!(
            complaints(json!({"type": "ExternalName", "externalName": "a.example."})),
            Vec::<String>::new()
        );
    }
}
