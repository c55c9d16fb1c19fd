// docker.io is a name, not a host: its registry answers elsewhere, under several historic names.

const dockerNames = new Set(["docker.io", "index.docker.io", "registry-1.docker.io", "www.docker.io"]);

/** The host (with port, if any) that serves a reference's domain. */
export function registryHostOf(domain: string): string {
  return dockerNames.has(domain) ? "registry-1.docker.io" : domain;
}
