//! The description of the API (OpenAPI 3.1): what its resources say of themselves, and what holds for all of them.

use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, OpenApi, Ref, RefOr, Required, ResponseBuilder, Schema,
};

use super::problem::{ApiProblem, MEDIA_TYPE};

/// The refusals that any request may meet.
const ALWAYS: [(&str, &str); 2] = [
    ("400", "The request is malformed"),
    ("421", "The Host is not one of this API's"),
];
/// The refusals that a request with a name in its path may meet.
const NAMED: [(&str, &str); 1] = [("404", "There is no resource of this name")];
/// The refusals that a change may meet.
const CHANGING: [(&str, &str); 6] = [
    ("404", "There is no resource of this name"),
    ("409", "The change is impossible in the present state"),
    (
        "412",
        "The revision in force is not the one that If-Match names",
    ),
    ("422", "A value is not right; see errors"),
    ("500", "palantir failed; nothing has changed"),
    ("503", "palantir is stopping, or takes longer than expected"),
];
/// The refusals that a change may meet, whoever asks for it.
const GUARDED: [(&str, &str); 1] = [(
    "403",
    "The page that asks is not palantir's own, or the token may only read",
)];
/// The refusals that a request with a body may meet.
const WITH_BODY: [(&str, &str); 4] = [
    ("408", "The body did not come in time"),
    ("413", "The body is too large"),
    ("415", "The content type is not application/json"),
    ("422", "A value is not right; see errors"),
];
const WITH_TOKEN: [(&str, &str); 1] = [("401", "The token is missing or wrong")];
/// The resource that changes nothing although its method is POST.
const HARMLESS: &str = "/config/check";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "palantir",
        description = "The management API of palantir, a reverse proxy.\n\nPOST, PUT and PATCH must say `Content-Type: \
        application/json`, also without a body. With `client_ca` in the configuration, a client needs a certificate \
        (mutual TLS), and changes are logged with its subject. The ETag of a resource is the revision of the \
        configuration in force; a change with `If-Match` is refused if another revision is in force by now."
    ),
    components(schemas(ApiProblem)),
    tags(
        (name = "servers", description = "Servers in the short form, of one pool or of the default pool"),
        (name = "pools", description = "Pools and their servers, with all settings"),
        (name = "routes", description = "Routes: the pool that a request is sent to"),
        (name = "cache", description = "Stored responses, and their purge"),
        (name = "configuration", description = "The configuration in force, and its earlier revisions"),
        (name = "change", description = "Reload and upgrade"),
        (name = "figures", description = "Figures of the present work of palantir"),
        (name = "palantir", description = "Version and health of palantir"),
    )
)]
struct Head;

/// The document without its resources.
pub fn head() -> OpenApi {
    <Head as utoipa::OpenApi>::openapi()
}

/// Puts in what holds for all resources; with a token, also that it is needed.
pub fn complete(document: &mut OpenApi, needs_token: bool) {
    for (path, item) in &mut document.paths.paths {
        for (operation, changes) in operations(item) {
            complete_operation(operation, path, changes, needs_token);
        }
    }
    if needs_token {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        document
            .components
            .get_or_insert_with(Components::new)
            .add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The operations of a path, and which of them change something.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (&mut Operation, bool)> {
    let reading = item.get.iter_mut().map(|operation| (operation, false));
    let changing = [
        &mut item.post,
        &mut item.put,
        &mut item.patch,
        &mut item.delete,
    ];
    let changing = changing.into_iter().flatten();
    reading.chain(changing.map(|operation| (operation, true)))
}

fn complete_operation(operation: &mut Operation, path: &str, changes: bool, needs_token: bool) {
    add_problems(operation, &ALWAYS);
    if path.contains('{') {
        add_problems(operation, &NAMED);
    }
    if operation.request_body.is_some() {
        add_problems(operation, &WITH_BODY);
    }
    if changes {
        add_problems(operation, &GUARDED);
        if path != HARMLESS {
            add_problems(operation, &CHANGING);
            let parameters = operation.parameters.get_or_insert_default();
            parameters.push(if_match());
        }
    }
    if needs_token && (changes || !super::access_policy::is_open(path)) {
        add_problems(operation, &WITH_TOKEN);
        let requirement = SecurityRequirement::new("token", [""; 0]);
        operation.security = Some(vec![requirement]);
    }
}

/// Adds answers that a resource does not name itself.
fn add_problems(operation: &mut Operation, problems: &[(&str, &str)]) {
    for (status, description) in problems {
        operation
            .responses
            .responses
            .entry((*status).to_owned())
            .or_insert_with(|| RefOr::T(problem(description)));
    }
}

fn problem(description: &str) -> utoipa::openapi::Response {
    let content = ContentBuilder::new()
        .schema(Some(RefOr::<Schema>::Ref(Ref::from_schema_name(
            "ApiProblem",
        ))))
        .build();
    ResponseBuilder::new()
        .description(description)
        .content(MEDIA_TYPE, content)
        .build()
}

fn if_match() -> Parameter {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(r#"^("[0-9]{1,19}"|\*)$"#))
        .build();
    ParameterBuilder::new()
        .name("If-Match")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("The ETag that the caller has seen"))
        .schema(Some(schema))
        .build()
}
