// What happens to a sandbox or container that others may want to hear of. Stores tell it where the record changes, so
// that nothing is told before it is true and nothing is forgotten.

/** In the order of a life; the words of the CRI's ContainerEventType. */
export type LifecycleChange = "created" | "started" | "stopped" | "deleted";

/** Must not throw and must not wait: it is called in the middle of the change. */
export type LifecycleListener<Subject> = (subject: Subject, change: LifecycleChange) => void;
