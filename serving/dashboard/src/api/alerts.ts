import { useQuery } from "@tanstack/react-query";
import { answerOf, client, type Schemas } from "./client";
import type { Alert } from "./live";

/** One alert, however old it is. */
export function useAlert(id: string, enabled: boolean) {
  return useQuery({
    queryKey: ["alert", id],
    queryFn: async () =>
      (await answerOf(client.GET("/v1/alerts/{id}", { params: { path: { id } } }))) as Alert,
    enabled,
  });
}

export function acknowledge(id: string, body: Schemas["Acknowledgement"]) {
  return answerOf(client.POST("/v1/alerts/{id}/acknowledge", { params: { path: { id } }, body }));
}

export function mute(id: string, body: Schemas["Mute"]) {
  return answerOf(client.POST("/v1/alerts/{id}/mute", { params: { path: { id } }, body }));
}
