//! Exchanges recorded, and what the log and a scrape then show.

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod lines;
#[cfg(test)]
mod metrics;
