//! The foundation of all other modules: bounds, identifiers, time and small arithmetic. Imports nothing of the program.

pub mod addresses;
pub mod cidr;
pub mod cpu_time;
pub mod ewma;
pub mod file;
pub mod file_at_work;
pub mod ids;
pub mod lent;
pub mod limits;
pub mod log;
pub mod machine_clock;
pub mod memory;
pub mod panic_on_demand;
pub mod quantity;
pub mod random;
pub mod retry_budget;
pub mod setting;
pub mod short_text;
pub mod time;
pub mod token_bucket;
