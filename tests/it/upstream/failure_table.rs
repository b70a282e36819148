//! The table of `docs/architecture.md`, walked: for each way in which a backend fails, at each byte of an exchange,
//! who gets what, and what becomes of both connections.

mod cases;
mod clients;
mod ends;
mod h1_backend;
mod h2_backend;
mod rule;
mod stage;
mod walk;

#[test]
fn the_table_holds() {
    walk::walk(cases::all());
}

#[test]
fn the_table_holds_where_streams_are_refused() {
    walk::walk_together(cases::crowd());
}
