import { useQuery } from "@tanstack/react-query";
import { client, dataOf, type Schemas } from "./client";
import type { Alert } from "./live";

/** One alert by its id, of any age. */
export function useAlert(id: string, enabled: boolean) {
  return useQuery({
    queryKey: ["alert", id],
    queryFn: async () => (await dataOf(client.GET("/v1/alerts/{id}", { params: { path: { id } } }))) as Alert,
    enabled,
  });
}

export function acknowledge(id: string, body: Schemas["Acknowledgement"]) {
  return dataOf(client.POST("/v1/alerts/{id}/acknowledge", { params: { path: { id } }, body }));
}

export function mute(id: string, body: Schemas["Mute"]) {
  return dataOf(client.POST("/v1/alerts/{id}/mute", { params: { path: { id } }, body }));
}
