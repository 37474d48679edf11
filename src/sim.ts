// `diskwright/sim`: the simulated host, for programs that want to see what becomes of their images when a disk fails. docs/sim.md.

export {
  type CrashStyle,
  createSimHost,
  type FaultPlan,
  type FaultRule,
  type LogEntry,
  Random,
  type SimFeature,
  SimHost,
  type SimHostOptions,
  type SimOperation,
  SimPowerLoss,
  type SimRequest,
} from './host/sim/index.js';
