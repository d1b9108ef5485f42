//! First step: a tree becomes a [`Document`]. Unknown keys are problems; known keys that are not built say so.

use super::constraint;
use super::model::{
    CapabilityDef, Definition, Document, NodeTemplate, OutputDef, PolicyTemplate, RequirementDef,
    RequirementUse, Schema, TypeDef, TypeKind, Version,
};
use crate::diagnostic::{Flaw, Problem};
use crate::tree::read::{self, Problems};
use crate::tree::{Entry, Key, Kind, Node};

/// Parts of TOSCA that are refused with a word, never ignored.
const NOT_BUILT: [&str; 23] = [
    "artifact_types",
    "artifacts",
    "copy",
    "directives",
    "groups",
    "group_types",
    "interface_types",
    "interfaces",
    "key_schema",
    "namespace",
    "node_filter",
    "occurrences",
    "profile",
    "relationship_templates",
    "repositories",
    "substitution_mappings",
    "triggers",
    "valid_source_types",
    "valid_target_types",
    "validation",
    "workflows",
    "count",
    "functions",
];

/// Notes every key that is not known; those of TOSCA that are not built are named as such.
fn only(entries: &[Entry], what: &str, known: &[&str], problems: &mut Problems) {
    for entry in entries {
        let name = entry.key.name.as_str();
        if known.contains(&name) {
            continue;
        }
        problems.push(if NOT_BUILT.contains(&name) {
            let word = "this part of TOSCA will come; remove it for now";
            read::not_built(&entry.key, what, word)
        } else {
            read::unknown_key(&entry.key, what, known)
        });
    }
}

fn description(node: &Node, problems: &mut Problems) -> String {
    let text = node.get("description").and_then(|node| read::text(node, "description", problems));
    text.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reads a file.
pub fn document(root: &Node, problems: &mut Problems) -> Option<Document> {
    let entries = read::map(root, "a TOSCA file", problems);
    let version = version(root, problems)?;
    let mut known = vec![
        "tosca_definitions_version",
        "description",
        "metadata",
        "dsl_definitions",
        "imports",
        "template_name",
        "template_author",
        "template_version",
        version.topology_key(),
    ];
    known.extend(TypeKind::SECTIONS.iter().map(|(name, _)| *name));
    only(entries, "the file", &known, problems);

    let mut document = Document {
        version,
        description: description(root, problems),
        imports: root.get("imports").map(|node| imports(node, problems)).unwrap_or_default(),
        types: Vec::new(),
        inputs: Vec::new(),
        nodes: Vec::new(),
        policies: Vec::new(),
        outputs: Vec::new(),
        topology: None,
    };
    for (section, kind) in TypeKind::SECTIONS {
        for entry in root.get(section).map(|node| read::map(node, section, problems)).unwrap_or_default() {
            document.types.push(type_def(entry, kind, problems));
        }
    }
    if let Some(entry) = root.entry(version.topology_key()) {
        document.topology = Some(entry.key.clone());
        topology(&entry.value, &mut document, problems);
    }
    Some(document)
}

fn version(root: &Node, problems: &mut Problems) -> Option<Version> {
    const KNOWN: [&str; 5] = [
        "tosca_simple_yaml_1_0",
        "tosca_simple_yaml_1_1",
        "tosca_simple_yaml_1_2",
        "tosca_simple_yaml_1_3",
        "tosca_2_0",
    ];
    let Some(node) = root.get("tosca_definitions_version") else {
        let problem = Problem::at(&root.place, "this is no TOSCA file: tosca_definitions_version is missing")
            .kind(Flaw::Missing);
        problems.push(problem.expected("tosca_definitions_version: tosca_simple_yaml_1_3"));
        return None;
    };
    match read::text(node, "tosca_definitions_version", problems)? {
        "tosca_2_0" => Some(Version::Two),
        text if KNOWN.contains(&text) => Some(Version::Simple),
        text => {
            let problem = Problem::at(&node.place, format!("TOSCA version {text:?} is not known"))
                .expected("tosca_simple_yaml_1_0 to tosca_simple_yaml_1_3, or tosca_2_0");
            problems.push(problem);
            None
        }
    }
}

/// A file name, or `{file: NAME}`, or `NAME: {file: …}`.
fn imports(node: &Node, problems: &mut Problems) -> Vec<Key> {
    let mut files = Vec::new();
    for item in read::list(node, "imports", problems) {
        let file = match &item.kind {
            Kind::Map(entries) => {
                only(entries, "an import", &["file", "url"], problems);
                item.get("file").or_else(|| item.get("url"))
            }
            _ => Some(item),
        };
        match file {
            Some(file) => files.extend(read::name(file, "an import", problems)),
            None => problems.push(read::wrong(item, "an import", "a file name, relative to this file")),
        }
    }
    files
}

fn topology(node: &Node, document: &mut Document, problems: &mut Problems) {
    let what = document.version.topology_key();
    let entries = read::map(node, what, problems);
    only(entries, what, &["description", "inputs", "node_templates", "policies", "outputs"], problems);
    if document.description.is_empty() {
        document.description = description(node, problems);
    }
    let section = |name: &str, problems: &mut Problems| {
        node.get(name).map(|node| read::map(node, name, problems).to_vec()).unwrap_or_default()
    };
    document.inputs = section("inputs", problems).iter().map(|e| definition(e, "input", problems)).collect();
    for entry in section("node_templates", problems) {
        document.nodes.extend(node_template(&entry, problems));
    }
    for entry in section("outputs", problems) {
        document.outputs.extend(output(&entry, problems));
    }
    if let Some(policies) = node.get("policies") {
        // 1.x writes a list of one-key mappings, and many files a mapping: both mean the same.
        for entry in named_items(policies, "policies", problems) {
            let Some(policy) = policy(&entry, problems) else { continue };
            if document.policies.iter().any(|other| other.name.name == policy.name.name) {
                let message = format!("there are two policies {:?}", policy.name.name);
                problems.push(Problem::at(&policy.name.place, message).help("rename one of them"));
            }
            document.policies.push(policy);
        }
    }
}

/// A mapping, or a list of mappings of one key each.
fn named_items(node: &Node, what: &str, problems: &mut Problems) -> Vec<Entry> {
    if node.map().is_some() {
        return node.map().unwrap_or_default().to_vec();
    }
    let mut all = Vec::new();
    for item in read::list(node, what, problems) {
        match item.map() {
            Some([entry]) => all.push(entry.clone()),
            _ => problems.push(read::wrong(item, what, "NAME: … (one name for each element)")),
        }
    }
    all
}

fn type_def(entry: &Entry, kind: TypeKind, problems: &mut Problems) -> TypeDef {
    let what = format!("{kind} {:?}", entry.key.name);
    let node = &entry.value;
    let entries = read::map(node, &what, problems);
    let mut known = vec!["derived_from", "description", "metadata", "version", "properties"];
    match kind {
        TypeKind::Node => known.extend(["attributes", "capabilities", "requirements"]),
        TypeKind::Capability | TypeKind::Relationship => known.push("attributes"),
        TypeKind::Policy => known.push("targets"),
        TypeKind::Data => known.push("constraints"),
    }
    only(entries, &what, &known, problems);
    let definitions = |section: &str, problems: &mut Problems| -> Vec<Definition> {
        let entries = node.get(section).map(|n| read::map(n, section, problems)).unwrap_or_default();
        entries.iter().map(|entry| definition(entry, "property", problems)).collect()
    };
    TypeDef {
        kind,
        name: entry.key.clone(),
        parent: node.get("derived_from").and_then(|n| read::name(n, "derived_from", problems)),
        description: description(node, problems),
        properties: definitions("properties", problems),
        attributes: definitions("attributes", problems),
        capabilities: node.get("capabilities").map(|n| capabilities(n, problems)).unwrap_or_default(),
        requirements: node
            .get("requirements")
            .map(|n| {
                let items = named_items(n, "requirements", problems);
                items.iter().filter_map(|item| requirement_def(item, problems)).collect()
            })
            .unwrap_or_default(),
        constraints: constraint::parse(node.get("constraints"), "constraints", problems),
        targets: node.get("targets").map(|n| names(n, "targets", problems)).unwrap_or_default(),
    }
}

fn names(node: &Node, what: &str, problems: &mut Problems) -> Vec<Key> {
    read::list(node, what, problems).iter().filter_map(|item| read::name(item, what, problems)).collect()
}

fn definition(entry: &Entry, kind: &str, problems: &mut Problems) -> Definition {
    let what = format!("{kind} {:?}", entry.key.name);
    let node = &entry.value;
    let known =
        ["type", "description", "required", "default", "status", "constraints", "entry_schema", "metadata"];
    only(read::map(node, &what, problems), &what, &known, problems);
    let mut required = true;
    if let Some(node) = node.get("required") {
        required = read::boolean(node, "required", problems).unwrap_or(true);
    }
    Definition {
        name: entry.key.clone(),
        schema: schema(node, &entry.key, &what, problems),
        description: description(node, problems),
        required,
        default: node.get("default").cloned(),
    }
}

/// `{type: …, constraints: …, entry_schema: …}`.
fn schema(node: &Node, fallback: &Key, what: &str, problems: &mut Problems) -> Schema {
    let type_name = match node.get("type") {
        Some(node) => read::name(node, "type", problems),
        None => {
            problems.push(
                Problem::at(&fallback.place, format!("{what} has no type"))
                    .kind(Flaw::Missing)
                    .expected("type: …"),
            );
            None
        }
    };
    let string = Key { name: "string".into(), place: fallback.place.clone() };
    let entry = node.get("entry_schema").map(|inner| {
        // `entry_schema: string` is the short form.
        if let Some(text) = inner.text() {
            let type_name = Key { name: text.to_owned(), place: inner.place.clone() };
            return Box::new(Schema { type_name, constraints: Vec::new(), entry: None });
        }
        let known = ["type", "description", "constraints", "entry_schema"];
        only(read::map(inner, "entry_schema", problems), "entry_schema", &known, problems);
        Box::new(schema(inner, fallback, "entry_schema", problems))
    });
    Schema {
        type_name: type_name.unwrap_or(string),
        constraints: constraint::parse(node.get("constraints"), "constraints", problems),
        entry,
    }
}

fn capabilities(node: &Node, problems: &mut Problems) -> Vec<CapabilityDef> {
    let mut all = Vec::new();
    for entry in read::map(node, "capabilities", problems) {
        let what = format!("capability {:?}", entry.key.name);
        let type_name = if entry.value.text().is_some() {
            read::name(&entry.value, &what, problems)
        } else {
            let known = ["type", "description"];
            only(read::map(&entry.value, &what, problems), &what, &known, problems);
            let type_node = entry.value.get("type");
            if type_node.is_none() {
                problems.push(read::wrong(&entry.value, &what, "type: …"));
            }
            type_node.and_then(|node| read::name(node, &what, problems))
        };
        all.extend(type_name.map(|type_name| CapabilityDef { name: entry.key.clone(), type_name }));
    }
    all
}

fn requirement_def(entry: &Entry, problems: &mut Problems) -> Option<RequirementDef> {
    let what = format!("requirement {:?}", entry.key.name);
    let (name, node) = (entry.key.clone(), &entry.value);
    if node.text().is_some() {
        let capability = read::name(node, &what, problems)?;
        return Some(RequirementDef {
            name,
            capability,
            node: None,
            relationship: None,
            least: 1,
            most: Some(1),
        });
    }
    let known = ["capability", "node", "relationship", "occurrences", "count_range", "description"];
    only(read::map(node, &what, problems), &what, &known, problems);
    let Some(capability) = node.get("capability") else {
        problems.push(
            Problem::at(&entry.key.place, format!("{what} names no capability")).expected("capability: …"),
        );
        return None;
    };
    let occurrences = node.get("occurrences").or_else(|| node.get("count_range"));
    let (least, most) = occurrences.map_or((1, Some(1)), |node| range(node, &what, problems));
    Some(RequirementDef {
        name,
        capability: read::name(capability, &what, problems)?,
        node: node.get("node").and_then(|node| read::name(node, &what, problems)),
        relationship: node.get("relationship").and_then(|node| read::name(node, &what, problems)),
        least,
        most,
    })
}

/// `[1, UNBOUNDED]`.
fn range(node: &Node, what: &str, problems: &mut Problems) -> (u64, Option<u64>) {
    let number = |node: &Node| node.scalar()?.as_int().and_then(|n| u64::try_from(n).ok());
    match node.list() {
        Some([low, high])
            if number(low).is_some() && (number(high).is_some() || high.text() == Some("UNBOUNDED")) =>
        {
            (number(low).unwrap_or(0), number(high))
        }
        _ => {
            problems.push(read::wrong(node, what, "[LEAST, MOST], for example [0, UNBOUNDED]"));
            (0, None)
        }
    }
}

fn type_of(entry: &Entry, what: &str, problems: &mut Problems) -> Option<Key> {
    let Some(node) = entry.value.get("type") else {
        problems.push(
            Problem::at(&entry.key.place, format!("{what} has no type"))
                .kind(Flaw::Missing)
                .expected("type: …"),
        );
        return None;
    };
    read::name(node, what, problems)
}

fn properties(node: &Node, problems: &mut Problems) -> Vec<Entry> {
    node.get("properties").map(|n| read::map(n, "properties", problems).to_vec()).unwrap_or_default()
}

fn node_template(entry: &Entry, problems: &mut Problems) -> Option<NodeTemplate> {
    let what = format!("node template {:?}", entry.key.name);
    let node = &entry.value;
    let known = ["type", "description", "metadata", "properties", "capabilities", "requirements"];
    only(read::map(node, &what, problems), &what, &known, problems);
    let mut capabilities = Vec::new();
    for entry in node.get("capabilities").map(|n| read::map(n, "capabilities", problems)).unwrap_or_default()
    {
        let what = format!("capability {:?}", entry.key.name);
        only(read::map(&entry.value, &what, problems), &what, &["properties"], problems);
        capabilities.push((entry.key.clone(), properties(&entry.value, problems)));
    }
    let items =
        node.get("requirements").map(|n| named_items(n, "requirements", problems)).unwrap_or_default();
    Some(NodeTemplate {
        name: entry.key.clone(),
        type_name: type_of(entry, &what, problems)?,
        properties: properties(node, problems),
        capabilities,
        requirements: items.iter().filter_map(|item| requirement_use(item, problems)).collect(),
    })
}

fn requirement_use(entry: &Entry, problems: &mut Problems) -> Option<RequirementUse> {
    let what = format!("requirement {:?}", entry.key.name);
    let node = &entry.value;
    let name = entry.key.clone();
    if node.map().is_none() {
        let target = read::name(node, &what, problems)?;
        return Some(RequirementUse { name, target, capability: None, relationship: None });
    }
    only(read::map(node, &what, problems), &what, &["node", "capability", "relationship"], problems);
    let Some(target) = node.get("node") else {
        problems
            .push(Problem::at(&name.place, format!("{what} names no node")).expected("node: NODE-TEMPLATE"));
        return None;
    };
    Some(RequirementUse {
        name,
        target: read::name(target, &what, problems)?,
        capability: node.get("capability").and_then(|node| read::name(node, &what, problems)),
        relationship: node.get("relationship").and_then(|node| {
            let inner = node.get("type").unwrap_or(node);
            read::name(inner, &what, problems)
        }),
    })
}

fn policy(entry: &Entry, problems: &mut Problems) -> Option<PolicyTemplate> {
    let what = format!("policy {:?}", entry.key.name);
    let node = &entry.value;
    let known = ["type", "description", "metadata", "properties", "targets"];
    only(read::map(node, &what, problems), &what, &known, problems);
    Some(PolicyTemplate {
        name: entry.key.clone(),
        type_name: type_of(entry, &what, problems)?,
        properties: properties(node, problems),
        targets: node.get("targets").map(|n| names(n, "targets", problems)).unwrap_or_default(),
    })
}

fn output(entry: &Entry, problems: &mut Problems) -> Option<OutputDef> {
    let what = format!("output {:?}", entry.key.name);
    only(read::map(&entry.value, &what, problems), &what, &["type", "description", "value"], problems);
    let Some(value) = entry.value.get("value") else {
        problems.push(Problem::at(&entry.key.place, format!("{what} has no value")).expected("value: …"));
        return None;
    };
    Some(OutputDef {
        name: entry.key.clone(),
        description: description(&entry.value, problems),
        value: value.clone(),
    })
}
