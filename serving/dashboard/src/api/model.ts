import { useQuery } from "@tanstack/react-query";
import { client, dataOf, type Schemas } from "./client";

/** The model that this service uses, and its cost. */
export function useModel() {
  return useQuery({
    queryKey: ["model"],
    queryFn: () => dataOf(client.GET("/v1/model")),
    refetchInterval: 5000,
  });
}

/** A text, and the companies that it gets a score for. */
export interface Wanted {
  text: string;
  targets: string[];
}

export async function classify({
  text,
  targets,
}: Wanted): Promise<{ response: Schemas["ClassifyResponse"]; ms: number }> {
  const from = performance.now();
  const asked = targets.length ? { targets } : {};
  const response = await dataOf(
    client.POST("/v1/classify", { body: { texts: [text], detail: true, ...asked } }),
  );
  return { response: response as Schemas["ClassifyResponse"], ms: performance.now() - from };
}

export function sendFeedback(body: Schemas["FeedbackRequest"]) {
  return dataOf(client.POST("/v1/feedback", { body }));
}
