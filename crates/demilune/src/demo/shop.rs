//! The demo's API: a shop, in memory.

use std::net::SocketAddr;
use std::sync::mpsc;

use anyhow::Context;
use demilune_proxy::{SimpleRequest, SimpleResponse, serve_simple};
use http::{Method, StatusCode};
use serde_json::{Value, json};

/// The most orders kept; the oldest go first.
const ORDERS_LIMIT: usize = 100;

/// Starts the shop on a thread of its own, on loopback.
pub(crate) fn start() -> anyhow::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let (tell, told) = mpsc::channel();
    std::thread::Builder::new().name("demo-shop".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default());
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = tell.send(Err(error));
                return;
            }
        };
        runtime.block_on(async move {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => {
                    let _ = tell.send(Ok(()));
                    let shop = std::cell::RefCell::new(Shop::default());
                    let clock = std::sync::Arc::new(demilune_backends::SystemClock);
                    serve_simple(listener, clock, move |r| shop.borrow_mut().answer(&r)).await;
                }
                Err(error) => {
                    let _ = tell.send(Err(error));
                }
            }
        });
    })?;
    told.recv().context("the shop's thread ended")??;
    Ok(address)
}

#[derive(Default)]
struct Shop {
    orders: Vec<Value>,
    count: u64,
}

impl Shop {
    fn answer(&mut self, request: &SimpleRequest) -> SimpleResponse {
        let segments: Vec<&str> = request.path.split('/').filter(|s| !s.is_empty()).collect();
        let (status, body) = match (&request.method, segments.as_slice()) {
            (_, ["healthz"]) => (StatusCode::OK, json!({ "ok": true })),
            (&Method::GET, ["v1", "products"]) => (StatusCode::OK, products()),
            (&Method::GET, ["v1", "products", id]) => one(&products(), id),
            (&Method::GET, ["v1", "orders"]) => (StatusCode::OK, json!(self.orders)),
            (&Method::GET, ["v1", "orders", id]) => one(&json!(self.orders), id),
            (&Method::POST, ["v1", "orders"]) => self.order(request),
            (&Method::GET, ["v1", "admin", "stock"]) => {
                (StatusCode::OK, json!({ "p1": 12, "p2": 3 }))
            }
            _ => (StatusCode::NOT_FOUND, json!({ "error": "not found" })),
        };
        SimpleResponse::json(status, format!("{body}\n"))
    }

    /// Takes an order; who orders is known from the gateway's header, never from the client's.
    fn order(&mut self, request: &SimpleRequest) -> (StatusCode, Value) {
        let order: Option<Value> = serde_json::from_slice(&request.body).ok();
        let product = order.as_ref().and_then(|order| order.get("product")).cloned();
        let quantity = order.as_ref().and_then(|order| order.get("quantity")?.as_u64());
        let (Some(product), Some(quantity)) = (product, quantity) else {
            let error = json!({ "error": "expected {\"product\": …, \"quantity\": …}" });
            return (StatusCode::BAD_REQUEST, error);
        };
        let name = request.headers.get("x-consumer-name").and_then(|name| name.to_str().ok());
        self.count += 1;
        let order = json!({
            "id": format!("o{}", self.count),
            "product": product,
            "quantity": quantity,
            "consumer": name,
        });
        if self.orders.len() >= ORDERS_LIMIT {
            self.orders.remove(0);
        }
        self.orders.push(order.clone());
        (StatusCode::CREATED, order)
    }
}

fn products() -> Value {
    json!([
        { "id": "p1", "name": "Ravelin", "price": 1900 },
        { "id": "p2", "name": "Bastion", "price": 4200 },
        { "id": "p3", "name": "Demilune", "price": 0 },
    ])
}

fn one(list: &Value, id: &str) -> (StatusCode, Value) {
    let found = list
        .as_array()
        .and_then(|list| list.iter().find(|item| item.get("id").is_some_and(|i| i == id)));
    match found {
        Some(item) => (StatusCode::OK, item.clone()),
        None => (StatusCode::NOT_FOUND, json!({ "error": "not found" })),
    }
}
