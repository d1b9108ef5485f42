//! Ports of front-ends on the host's loopback, copied by the agent: the host's network gets no route for it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;

use super::super::machine::StepError;
use super::{Agent, files};
use crate::names::MachineId;

impl Agent {
    /// Opens a machine's forwarded ports; those that are open stay. A port is kept over restarts while it is free.
    pub(super) async fn forward(self: &Arc<Self>, id: &MachineId) {
        let Some(record) = self
            .inner()
            .machines
            .get(id)
            .filter(|live| live.forwards.is_empty())
            .map(|live| live.record.clone())
        else {
            return;
        };
        for (port, before) in record.exposed {
            match self.forward_port(id, record.address, port, before).await {
                Ok(()) => {}
                Err(error) => tracing::warn!(machine = %id, port, %error, "port is not forwarded"),
            }
        }
    }

    async fn forward_port(
        self: &Arc<Self>,
        id: &MachineId,
        address: Ipv4Addr,
        port: u16,
        before: Option<u16>,
    ) -> Result<(), StepError> {
        let listener = bind(before).await.map_err(StepError::at("listen on 127.0.0.1"))?;
        let local = listener.local_addr().map_err(StepError::at("name the forwarded port"))?.port();
        let record = {
            let mut inner = self.inner();
            let Some(live) = inner.machines.get_mut(id) else { return Ok(()) };
            live.record.exposed.insert(port, Some(local));
            live.record.clone()
        };
        if before != Some(local) {
            files::save(&self.record_path(id), &record)?;
        }
        let task = tokio::spawn(copy(Arc::clone(self), listener, SocketAddrV4::new(address, port)));
        match self.inner().machines.get_mut(id) {
            Some(live) => live.forwards.push(task),
            None => task.abort(),
        }
        Ok(())
    }
}

async fn bind(before: Option<u16>) -> std::io::Result<TcpListener> {
    if let Some(port) = before
        && let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
    {
        return Ok(listener);
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
}

async fn copy(agent: Arc<Agent>, listener: TcpListener, target: SocketAddrV4) {
    loop {
        let Ok((mut local, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let agent = Arc::clone(&agent);
        tokio::spawn(async move {
            let _ = local.set_nodelay(true);
            if let Ok(mut remote) = agent.hub.connect(target).await {
                let _ = copy_bidirectional(&mut local, &mut remote).await;
            }
        });
    }
}
