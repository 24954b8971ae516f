//! What goes wrong with managers and nodes, and how it ends.

use std::time::Duration;

use skep_agent_plan::Observed;
use skep_types::{NodeId, TaskId, Timestamp};

use crate::shape::Faults;
use crate::world::{Event, World};

impl World {
    /// A wait of so long on average; none where such a fault never comes.
    fn after(&mut self, average: Duration) -> Option<Timestamp> {
        let millis = 2 * average.as_millis() as u64;
        (millis > 0).then(|| self.now.saturating_add(Duration::from_millis(self.rng.below(millis))))
    }

    pub(crate) fn manager_trouble(&mut self) {
        let Some(next) = self.after(self.faults.managers).filter(|_| self.troubled) else { return };
        self.queue.push(next, Event::ManagerTrouble);
        let count = self.managers.up.len() as u64;
        let any = self.rng.below(count) as usize;
        match self.rng.below(5) {
            // Deposed, and slow to see it.
            0 => self.depose(true),
            1 => self.depose(false),
            2 => {
                let leader = self.managers.leader.as_ref().map(|leader| leader.manager);
                self.crash_for_a_while(leader.unwrap_or(any));
            }
            _ => self.crash_for_a_while(any),
        }
    }

    fn crash_for_a_while(&mut self, manager: usize) {
        if !self.managers.up[manager] {
            return;
        }
        self.crash_manager(manager);
        let time = Duration::from_millis(500 + self.rng.below(20_000));
        self.queue.push(self.now.saturating_add(time), Event::StartManager(manager));
    }

    pub(crate) fn node_trouble(&mut self) {
        let Some(next) = self.after(self.faults.nodes).filter(|_| self.troubled) else { return };
        self.queue.push(next, Event::NodeTrouble);
        let there: Vec<NodeId> =
            self.agents.iter().filter(|(_, agent)| agent.is_reachable()).map(|it| *it.0).collect();
        if there.is_empty() {
            return;
        }
        let node = there[self.rng.below(there.len() as u64) as usize];
        // Half of the absences are too short to be noticed.
        let most = if self.rng.once_in(2) { 10_000 } else { 120_000 };
        let back = self.now.saturating_add(Duration::from_millis(self.rng.below(most)));
        match self.rng.below(5) {
            0 => {
                self.cut(node);
                self.queue.push(back, Event::Reconnect(node));
            }
            1 => {
                if let Some(agent) = self.agents.get_mut(&node) {
                    agent.frozen_until = Some(back);
                }
                self.queue.push(back, Event::Thaw(node));
            }
            2 => self.crash_node(node, back),
            3 => self.stop_daemon(node, back),
            // The clock is set.
            _ => {
                let error = crate::managers::clock_error(&mut self.rng, self.faults.clocks);
                if let Some(agent) = self.agents.get_mut(&node) {
                    agent.clock = error;
                }
            }
        }
    }

    fn cut(&mut self, node: NodeId) {
        if let Some(agent) = self.agents.get_mut(&node) {
            agent.cut = true;
        }
    }

    pub(crate) fn reconnect(&mut self, node: NodeId) {
        if let Some(agent) = self.agents.get_mut(&node) {
            agent.cut = false;
        }
    }

    pub(crate) fn thaw(&mut self, node: NodeId) {
        if let Some(agent) = self.agents.get_mut(&node) {
            agent.frozen_until = None;
        }
    }

    /// The daemon ends; what was being done to containers may have been done, and they go on.
    fn stop_daemon(&mut self, node: NodeId, back: Timestamp) {
        let Some(agent) = self.agents.get(&node) else { return };
        let steps: Vec<_> =
            agent.tasks.iter().filter_map(|(id, local)| Some((*id, local.busy?.0))).collect();
        for (task, step) in steps {
            if self.rng.once_in(2) {
                self.take_effect(node, task, step);
            }
        }
        let Some(agent) = self.agents.get_mut(&node) else { return };
        agent.stop_daemon();
        agent.up = false;
        self.queue.push(back, Event::StartNode(node, agent.run));
    }

    /// The host goes down with everything that runs; its disk may be lost, too.
    fn crash_node(&mut self, node: NodeId, back: Timestamp) {
        self.stop_daemon(node, back);
        let wiped = self.rng.once_in(4);
        let Some(agent) = self.agents.get(&node) else { return };
        let containers: Vec<(TaskId, bool)> =
            agent.containers.iter().map(|(id, it)| (*id, it.is_running())).collect();
        if let Some(agent) = self.agents.get_mut(&node) {
            agent.balances.clear();
        }
        for (task, runs) in containers {
            if wiped {
                self.observe(node, task, Observed::Absent);
            } else if runs {
                self.observe(node, task, Observed::Exited { code: 137 });
            }
        }
    }

    pub(crate) fn start_node(&mut self, node: NodeId, run: u64) {
        let Some(agent) = self.agents.get_mut(&node) else { return };
        if agent.run == run && !agent.up {
            agent.up = true;
            let unhealthy: Vec<TaskId> = agent
                .containers
                .iter()
                .filter(|(_, it)| it.observed == Observed::Running { healthy: false })
                .map(|(task, _)| *task)
                .collect();
            let all: Vec<TaskId> = agent.containers.keys().copied().collect();
            if self.rng.once_in(6) {
                agent.declares = crate::objects::generic(&mut self.rng);
            }
            for task in unhealthy {
                self.healthy_later(node, task);
            }
            for task in all {
                self.job_ends_later(node, task);
            }
            self.connect(node, Duration::ZERO);
        }
    }

    /// The last fault is over, and everybody is back.
    pub(crate) fn heal(&mut self) {
        self.troubled = false;
        self.faults = Faults::default();
        self.managers.stale = None;
        for manager in 0..self.managers.up.len() {
            if !self.managers.up[manager] {
                self.start_manager(manager);
            }
        }
        let nodes: Vec<NodeId> = self.agents.keys().copied().collect();
        for node in nodes {
            self.reconnect(node);
            self.thaw(node);
            let Some(agent) = self.agents.get(&node) else { continue };
            self.start_node(node, agent.run);
        }
    }
}
