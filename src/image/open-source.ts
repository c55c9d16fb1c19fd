// Who serves an image, and with which credentials each of them is asked.
import { findCredentials, loadAuthFile, type CredentialSources } from "./auth-file.ts";
import { belongsTo, credentialsOf, type AuthConfig, type Credentials } from "./credentials.ts";
import type { HttpTransport } from "./http-transport.ts";
import { ImageSource } from "./image-source.ts";
import type { ImageReference } from "./reference.ts";
import {
  isInsecureHost,
  pullEndpoints,
  type RegistriesConf,
  type RegistryEndpoint,
} from "./registries-conf.ts";
import { RegistryAuth } from "./registry-auth.ts";
import { RegistryClient } from "./registry-client.ts";
import { registryHostOf } from "./registry-host.ts";
import type { TokenCache } from "./token-cache.ts";

export interface SourceRequest {
  reference: ImageReference;
  auth: AuthConfig | undefined;
  conf: RegistriesConf;
  /** Files with credentials for pulls that bring none; the first that has some for a registry counts. */
  authFiles: readonly string[];
  transport: HttpTransport;
  tokens: TokenCache;
}

/** Throws permission-denied for a blocked registry, invalid-argument for unusable credentials. */
export async function openSource(request: SourceRequest): Promise<ImageSource> {
  const { conf, reference, transport, tokens } = request;
  const given = request.auth === undefined ? undefined : credentialsOf(request.auth);
  const loaded = await Promise.all(request.authFiles.map(loadAuthFile));
  const files = loaded.filter((file) => file !== undefined);
  const sources = { files, helpers: conf.credentialHelpers };
  const clients = pullEndpoints(conf, reference).map(async (endpoint) => {
    const credentials = await credentialsFor(endpoint, request, given, sources);
    const { host, repository } = endpoint;
    const isInsecure = (other: string): boolean =>
      (endpoint.insecure && other === host) || isInsecureHost(conf, other);
    const auth = new RegistryAuth({ host, repository, credentials, transport, tokens, isInsecure });
    return new RegistryClient({ endpoint, transport, auth });
  });
  return new ImageSource(await Promise.all(clients));
}

/**
 * The credentials of the call go to the registry they were given for and to nobody else: not to a mirror, whose owner
 * would learn them. A mirror's own are in the auth file.
 */
async function credentialsFor(
  endpoint: RegistryEndpoint,
  { auth, reference }: SourceRequest,
  given: Credentials | undefined,
  sources: CredentialSources,
): Promise<Credentials | undefined> {
  const { host, repository } = endpoint;
  if (given !== undefined && belongsTo(auth?.serverAddress ?? "", reference.domain, host)) return given;
  const domain = host === registryHostOf("docker.io") ? "docker.io" : host;
  return findCredentials(sources, domain, repository);
}
